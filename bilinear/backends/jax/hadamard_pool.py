"""The pooled element-wise products of streams."""

import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from ...contract import Reduction
from ...contract.low_rank import check_hadamard_pool
from ._arrays import ArrayLike, spec, wide
from .outer_pool import counted, keep


def hadamard_pool(
    x: ArrayLike,
    y: ArrayLike,
    *more: ArrayLike,
    rank: int = 1,
    mask: ArrayLike | None = None,
    reduction: Reduction = "mean",
) -> jax.Array:
    """Pool the element-wise products of every two streams over all locations.

    For streams i < j, in the order (0, 1), (0, 2), …, (1, 2), …:
    ``h[n,k] = (1/Z) Σ_l Σ_r xᵢ[n,l,r] · xⱼ[n,l,r]`` over the locations kept and the `rank`
    consecutive channels r of window k, where Z is the number of locations kept for ``"mean"`` and
    1 for ``"sum"``.

    Shapes: each stream (N, L, R), mask (N, L) boolean, True where kept
        -> (N, pairs · R / rank), pair by pair.
    Gradient: ``γ ∘ xⱼ / Z`` and ``γ ∘ xᵢ / Z``, γ spread over its window, summed over pairs.
    Edges: a masked location enters no product, NaN included, and its gradient is 0; a sample
        without a location kept pools to 0 with gradient 0. Half types accumulate in float32.
    Cost: time and memory N·L·R a pair; nothing of size R².
    Raises: ValueError and TypeError as `bilinear.contract.low_rank.check_hadamard_pool`.
    Source: Kim et al., ICLR 2017, section 3; Yu et al., ICCV 2017, section 3; Yu et al., ECCV 2018.
    """
    op, names = "hadamard_pool", ["x", "y", *(f"more[{i}]" for i in range(len(more)))]
    described = [spec(op, name, s) for name, s in zip(names, (x, y, *more), strict=True)]
    of_mask = None if mask is None else spec(op, "mask", mask)
    check_hadamard_pool(described, rank, of_mask, reduction)
    streams = [jnp.asarray(stream) for stream in (x, y, *more)]
    h = pooled([wide(stream) for stream in streams], rank, mask, reduction)
    return h.astype(streams[0].dtype)


def pooled(
    streams: Sequence[jax.Array], rank: int, mask: ArrayLike | None, reduction: Reduction
) -> jax.Array:
    """The unchecked formula, of streams in the accumulation dtype."""
    chosen = None if mask is None else jnp.asarray(mask)
    kept = [keep(stream, chosen) for stream in streams]
    sums = [jnp.sum(a * b, axis=1) for a, b in itertools.combinations(kept, 2)]
    h = jnp.concatenate(sums, axis=1)
    if rank > 1:
        h = h.reshape(h.shape[0], h.shape[1] // rank, rank).sum(2)
    return averaged(h, kept[0], chosen, reduction)


def averaged(h: jax.Array, x: jax.Array, mask: jax.Array | None, reduction: Reduction) -> jax.Array:
    """Sums over the locations of x (N, K), divided by Z."""
    return h if reduction == "sum" else h / counted(x, mask, h.dtype)
