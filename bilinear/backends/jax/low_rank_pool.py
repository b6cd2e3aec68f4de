"""Low-rank bilinear pooling: products of projections, pooled."""

import jax
import jax.numpy as jnp

from ...contract import Reduction
from ...contract.low_rank import Activation, check_low_rank_pool
from ._arrays import ArrayLike, spec, specs, wide
from .hadamard_pool import pooled
from .outer_pool import keep


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
    """Bilinear pooling of rank `rank` in each entry: ``hadamard_pool(σ(x u), σ(y v))``.

    ``y=None`` is one stream, y = x; u and v stay two matrices. `activation` σ is None,
    ``"tanh"``, ``"relu"`` or ``"sigmoid"``.

    Shapes: x (N, L, C), u (C, R), v (D, R), y (N, L, D), mask (N, L) boolean -> (N, R / rank).
    Gradient: with γ the cotangent spread over its windows, p = x u and q = y v,
        ``∂p = σ'(p) ∘ γ ∘ σ(q) / Z``, ``∂x = ∂p uᵀ``, ``∂u = Σ xᵀ ∂p``; for y and v likewise.
    Edges: a masked location enters no product and no gradient, of u and v neither, NaN included,
        whatever σ(0) is; a sample without a location kept pools to 0. The slope of relu at
        exactly 0 is 0. Half types are computed in float32.
    Cost: time N·L·(C + D)·R, memory N·L·R; nothing of size C·D.
    Raises: ValueError and TypeError as `bilinear.contract.low_rank.check_low_rank_pool`.
    Source: Kim et al., ICLR 2017, section 3 (there of one location); Yu et al., ICCV 2017,
        section 3 (windows).
    """
    op = "low_rank_pool"
    of_x, of_y, of_mask = specs(op, x, y, mask)
    weights = spec(op, "u", u), spec(op, "v", v)
    check_low_rank_pool(of_x, *weights, of_y, activation, rank, of_mask, reduction)
    result = factored(x, u, v, y, activation, rank, mask, reduction)
    return result.astype(jnp.asarray(x).dtype)


def factored(
    x: ArrayLike,
    u: ArrayLike,
    v: ArrayLike,
    y: ArrayLike | None,
    activation: Activation,
    rank: int,
    mask: ArrayLike | None,
    reduction: Reduction,
) -> jax.Array:
    """The unchecked formula, in the accumulation dtype of x, whatever that of u and v."""
    chosen = None if mask is None else jnp.asarray(mask)
    x_kept = keep(wide(jnp.asarray(x)), chosen)
    y_kept = x_kept if y is None else keep(wide(jnp.asarray(y)), chosen)
    pairs = (x_kept, u), (y_kept, v)
    streams = [activated(projected(s, jnp.asarray(w)), activation) for s, w in pairs]
    return pooled(streams, rank, chosen, reduction)


def projected(x: jax.Array, u: jax.Array) -> jax.Array:
    """``x u`` of every location, in the dtype of x."""
    # HIGHEST: a GPU's or TPU's default would round float32 products to fewer digits
    highest = jax.lax.Precision.HIGHEST
    return jnp.einsum("...c,cr->...r", x, u.astype(x.dtype), precision=highest)


def activated(p: jax.Array, activation: Activation) -> jax.Array:
    """σ(p). relu keeps 0·p where it is 0, which lets a NaN cotangent through."""
    if activation == "tanh":
        return jnp.tanh(p)
    if activation == "sigmoid":
        return jax.nn.sigmoid(p)
    return p if activation is None else jnp.where(p <= 0, 0.0 * p, p)
