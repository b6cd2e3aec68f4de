"""L2 normalisation over the last axis, with a floor on the norm."""

import jax
import jax.numpy as jnp

from ...contract import L2_EPS, Norm
from ...contract.pooling import check_l2_normalize
from ._arrays import ArrayLike, spec, wide


def l2_normalize(z: ArrayLike, *, eps: float = L2_EPS, norm: Norm = "floor") -> jax.Array:
    """Scale each vector to unit length, or by 1/eps where it is too short: ``z / max(‖z‖₂, eps)``.

    The form ``"added"`` is ``z / √(‖z‖₂² + eps)``, as published by Caffe's users.

    Shapes: z (..., K) -> the same.
    Gradient: the quotient rule for ``‖z‖ > eps``; that of z / eps for ``‖z‖ <= eps``.
        With eps added, the quotient rule everywhere.
    Edges: the zero vector gives the zero vector, with slope 1/eps (1/√eps where it is
        added). A NaN makes its whole vector NaN. Half types are computed in float32.
    Cost: time, memory and output of the size of z.
    Raises: ValueError and TypeError as `bilinear.contract.pooling.check_l2_normalize`, and for an
        unknown form.
    Source: Lin, RoyChowdhury, Maji, ICCV 2015, section 3.1; the floor is ours.
    """
    check_l2_normalize(spec("l2_normalize", "z", z), eps, norm)
    z = jnp.asarray(z)
    return normalized(wide(z), eps, norm).astype(z.dtype)


def normalized(z: jax.Array, eps: float, norm: Norm = "floor") -> jax.Array:
    """The unchecked formula, ``v / ‖v‖`` of ``v = z / s`` with the floored norm as a constant s.

    The direction of z does not depend on s, so this has the derivatives of z / ‖z‖, taken near
    length 1 where no intermediate of any order under- or overflows. A short z stops at v = z/eps;
    the length it does not have is set to 1, so that no dropped branch divides by 0. NaN is not
    <= eps: it stays in s and reaches every entry.
    """
    if norm == "added":
        return z / jnp.sqrt(_square(z) + float(eps))
    length = jnp.sqrt(_square(jax.lax.stop_gradient(z)))
    short = length <= float(eps)  # a NumPy eps would widen float32 to float64
    v = z / jnp.where(short, float(eps), length)
    return v / jnp.sqrt(jnp.where(short, 1.0, _square(v)))


def _square(z: jax.Array) -> jax.Array:
    return jnp.sum(z * z, axis=-1, keepdims=True)
