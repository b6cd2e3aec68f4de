"""Low-rank bilinear pooling: products of projections, pooled."""

from typing import Any

import jax
import jax.numpy as jnp

from ...contract import Reduction
from ...contract.low_rank import Activation, check_low_rank_pool
from ._arrays import ArrayLike, round_to, select_streams, spec, specs
from ._products import einsum_of_inputs
from .hadamard_pool import hadamard_pool_unchecked


def low_rank_pool(
    x: ArrayLike,
    u: ArrayLike,
    v: ArrayLike,
    y: ArrayLike | None = None,
    *,
    activation: Activation = None,
    rank: int = 1,
    mask: ArrayLike | None = None,
    reduction: Reduction = "mean",
) -> jax.Array:
    """Pool products of two projections: ``hadamard_pool(σ(x u), σ(y v))``.

    Args:
        x: features (N, L, C).
        u: projection (C, R) of x.
        v: projection (D, R) of y.
        y: features (N, L, D) of the second stream; None means y = x.
        activation: σ, one of None, ``"tanh"``, ``"relu"`` and ``"sigmoid"``.
        rank: number of consecutive products that are summed; divides R.
        mask: boolean (N, L); only locations where it is True are pooled. None pools all.
        reduction: ``"mean"`` divides by the number of pooled locations, ``"sum"`` does not.

    Returns: Array (N, R / rank).
    Cost: time N·L·(C + D)·R, memory N·L·R. No array of size C·D is formed.
    Specification: `bilinear.reference.low_rank_pool`.
    """
    op = "low_rank_pool"
    of_x, of_y, of_mask = specs(op, x, y, mask)
    weights = spec(op, "u", u), spec(op, "v", v)
    check_low_rank_pool(of_x, *weights, of_y, activation, rank, of_mask, reduction)
    result = low_rank_pool_unchecked(x, u, v, y, activation, rank, mask, reduction)
    return round_to(x, result)


def low_rank_pool_unchecked(x, u, v, y, activation, rank, mask, reduction) -> jax.Array:
    """The formula, in the accumulation dtype of x; u and v are cast to it."""
    pairs = zip(select_streams(x, y, mask), (u, v), strict=True)
    streams = [activate(project(stream, w, x.dtype), activation) for stream, w in pairs]
    return hadamard_pool_unchecked(streams, rank, mask, reduction)


def project(x: jax.Array, u: ArrayLike, dtype: Any) -> jax.Array:
    """``x u`` of every location, in the dtype of x, which had `dtype` before it was upcast."""
    u = jnp.asarray(u)
    return einsum_of_inputs("nlc,cr->nlr", x, u.astype(x.dtype), dtype, u.dtype)


def activate(p: jax.Array, activation: Activation) -> jax.Array:
    """σ(p). relu is 0·p where p <= 0: a NaN cotangent passes through it."""
    if activation == "tanh":
        return jnp.tanh(p)
    if activation == "sigmoid":
        return jax.nn.sigmoid(p)
    return p if activation is None else jnp.where(p <= 0, 0.0 * p, p)
