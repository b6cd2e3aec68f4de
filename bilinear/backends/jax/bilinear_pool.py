"""The descriptor of the bilinear CNN: outer product, signed root, unit length."""

import jax
import jax.numpy as jnp

from ...contract import ACCUMULATION, EPS, L2_EPS, Reduction, check_bilinear_pool
from ._arrays import ArrayLike, specs
from ._fused import fused
from .outer_pool import counted


def bilinear_pool(
    x: ArrayLike,
    y: ArrayLike | None = None,
    *,
    mask: ArrayLike | None = None,
    reduction: Reduction = "mean",
    eps: float = EPS,
    l2_eps: float = L2_EPS,
) -> jax.Array:
    """Bilinear pooling: ``l2_normalize(signed_sqrt(flatten(outer_pool(x, y))))``.

    The (C, D) matrix is flattened row-major, so feature ``c·D + d`` is the pair (c, d), and the
    normalisation is over the whole descriptor.

    Shapes: x (N, L, C), y (N, L, D), mask (N, L) boolean -> (N, C·D).
    Gradient, edges: those of the three steps, in that order. Half types are widened to float32
        once at the start and rounded once at the end.
    Raises: ValueError and TypeError as `bilinear.contract.check_bilinear_pool`.
    Source: Lin, RoyChowdhury, Maji, ICCV 2015, section 3.
    """
    check_bilinear_pool(*specs("bilinear_pool", x, y, mask), reduction, eps, l2_eps)
    return described(x, y, mask, reduction, eps, l2_eps)


def described(
    x: ArrayLike,
    y: ArrayLike | None,
    mask: ArrayLike | None,
    reduction: Reduction,
    eps: float,
    l2_eps: float,
) -> jax.Array:
    """The unchecked formula, rounded back to the dtype of `x`."""
    first, kept = jnp.asarray(x), None if mask is None else jnp.asarray(mask)
    second = None if y is None else jnp.asarray(y)
    dtype = ACCUMULATION[first.dtype.name]
    z = counted(first, kept, dtype) if reduction == "mean" else jnp.ones((1, 1), dtype)
    u, _ = fused(first, second, kept, z, eps, l2_eps)
    return u.astype(first.dtype)
