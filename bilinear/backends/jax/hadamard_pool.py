"""The pooled element-wise products of streams."""

import itertools

import jax
import jax.numpy as jnp

from ...contract import Reduction
from ...contract.low_rank import check_hadamard_pool
from ._arrays import ArrayLike, count_locations, round_to, select_locations, spec


def hadamard_pool(
    x: ArrayLike,
    y: ArrayLike,
    *more: ArrayLike,
    rank: int = 1,
    mask: ArrayLike | None = None,
    reduction: Reduction = "mean",
) -> jax.Array:
    """Pool the element-wise products of every pair of streams over all locations.

    Args:
        x: features (N, L, R).
        y: features (N, L, R) of the second stream.
        *more: features (N, L, R) of further streams.
        rank: number of consecutive products that are summed; divides R.
        mask: boolean (N, L); only locations where it is True are pooled. None pools all.
        reduction: ``"mean"`` divides by the number of pooled locations, ``"sum"`` does not.

    Returns: Array (N, pairs · R / rank), in the order (x, y), (x, more[0]), …, (y, more[0]), …
    Cost: time and memory N·L·R for each pair.
    Specification: `bilinear.reference.hadamard_pool`.
    """
    op, names = "hadamard_pool", ["x", "y", *(f"more[{i}]" for i in range(len(more)))]
    received = [spec(op, name, s) for name, s in zip(names, (x, y, *more), strict=True)]
    of_mask = None if mask is None else spec(op, "mask", mask)
    check_hadamard_pool(received, rank, of_mask, reduction)
    return round_to(x, hadamard_pool_unchecked((x, y, *more), rank, mask, reduction))


def hadamard_pool_unchecked(streams, rank, mask, reduction) -> jax.Array:
    selected = [select_locations(stream, mask) for stream in streams]
    sums = [jnp.sum(a * b, axis=1) for a, b in itertools.combinations(selected, 2)]
    h = jnp.concatenate(sums, axis=1)
    if rank > 1:
        h = h.reshape(h.shape[0], h.shape[1] // rank, rank).sum(2)
    return h if reduction == "sum" else h / count_locations(selected[0], mask)
