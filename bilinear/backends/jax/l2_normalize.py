"""L2 normalization over the last axis, with a floor on the norm."""

import jax
import jax.numpy as jnp

from ...contract import L2_EPS, Norm
from ...contract.pooling import check_l2_normalize
from ._arrays import ArrayLike, round_to, spec, upcast


def l2_normalize(z: ArrayLike, *, eps: float = L2_EPS, norm: Norm = "floor") -> jax.Array:
    """Scale each vector of the last axis to unit length: ``z / max(‖z‖₂, eps)``.

    Args:
        z: array (..., K).
        eps: positive; lower bound of the norm, or added to its square.
        norm: ``"floor"``, or ``"added"`` for ``z / √(‖z‖₂² + eps)``.

    Returns: Array of the shape of z.
    Cost: time and memory of the size of z.
    Specification: `bilinear.reference.l2_normalize`.
    """
    check_l2_normalize(spec("l2_normalize", "z", z), eps, norm)
    return round_to(z, l2_normalize_unchecked(upcast(z), eps, norm))


def l2_normalize_unchecked(z: jax.Array, eps: float, norm: Norm = "floor") -> jax.Array:
    """The formula ``v / ‖v‖`` of ``v = z / s``, with the floored norm as a constant s.

    The direction of z does not depend on s, so this has the derivatives of z / ‖z‖, computed near
    length 1 where no intermediate of any order under- or overflows. A vector of at most eps is
    ``v = z / eps``; its length is replaced by 1, so that no dropped branch divides by 0. NaN is
    not <= eps: it stays in s and reaches every entry.
    """
    if norm == "added":
        return z / jnp.sqrt(_square(z) + float(eps))
    length = jnp.sqrt(_square(jax.lax.stop_gradient(z)))
    short = length <= float(eps)  # a NumPy eps would make float32 float64
    v = z / jnp.where(short, float(eps), length)
    return v / jnp.sqrt(jnp.where(short, 1.0, _square(v)))


def _square(z: jax.Array) -> jax.Array:
    return jnp.sum(z * z, axis=-1, keepdims=True)
