"""The pooled outer product of location features."""

import jax
import jax.numpy as jnp

from ...contract import Reduction
from ...contract.pooling import check_outer_pool
from ._arrays import ArrayLike, specs, wide


def outer_pool(
    x: ArrayLike,
    y: ArrayLike | None = None,
    *,
    mask: ArrayLike | None = None,
    reduction: Reduction = "mean",
) -> jax.Array:
    """Pool the outer products of two feature vectors over all locations.

    ``G[n,c,d] = (1/Z) Σ_l x[n,l,c] · y[n,l,d]`` over the locations kept, where Z is their
    number for ``"mean"`` and 1 for ``"sum"``. ``y=None`` is one stream: y = x.

    Shapes: x (N, L, C), y (N, L, D), mask (N, L) boolean, True where kept -> (N, C, D).
    Gradient: ``(Γ + Γᵀ) x / Z`` for one stream; ``Γ y / Z`` and ``Γᵀ x / Z`` for two.
    Edges: a masked location enters no product, NaN included, and its gradient is 0; a sample
        without a location kept pools to 0 with gradient 0. Half types accumulate in float32.
    Cost: time O(N·L·C·D), twice that for the gradient; memory and output N·C·D beside x and y.
    Raises: ValueError and TypeError as `bilinear.contract.pooling.check_outer_pool`.
    Source: Lin, RoyChowdhury, Maji, ICCV 2015, equations 1 and 2.
    """
    check_outer_pool(*specs("outer_pool", x, y, mask), reduction)
    x = jnp.asarray(x)
    return pooled(x, y, mask, reduction).astype(x.dtype)


def pooled(
    x: ArrayLike, y: ArrayLike | None, mask: ArrayLike | None, reduction: Reduction
) -> jax.Array:
    """The unchecked formula, in the accumulation dtype."""
    kept = None if mask is None else jnp.asarray(mask)
    x_kept = keep(wide(jnp.asarray(x)), kept)
    y_kept = x_kept if y is None else keep(wide(jnp.asarray(y)), kept)
    # HIGHEST: a GPU's or TPU's default would round float32 products to fewer digits
    g = jnp.einsum("nlc,nld->ncd", x_kept, y_kept, precision=jax.lax.Precision.HIGHEST)
    if reduction == "sum":
        return g
    return g / counted(x_kept, kept, g.dtype)[:, :, None]


def counted(x: jax.Array, mask: jax.Array | None, dtype: jax.typing.DTypeLike) -> jax.Array:
    """How many locations each sample keeps, (N, 1), or (1, 1) without a mask."""
    if mask is None:
        return jnp.asarray(x.shape[1], dtype).reshape(1, 1)  # an array: the size may be symbolic
    kept = mask.sum(1, keepdims=True, dtype=dtype)
    return jnp.maximum(kept, 1.0)  # none kept: the sum is 0 already


def keep(x: jax.Array, mask: jax.Array | None) -> jax.Array:
    """Select, do not multiply: a masked NaN must not survive as 0 · NaN."""
    return x if mask is None else jnp.where(mask[:, :, None], x, 0.0)
