"""L2 normalisation over the last axis, with a floor on the norm."""

import numpy as np

from ..contract import L2_EPS, check_l2_normalize
from ._arrays import Array, like, spec, wide


def l2_normalize(z: Array, *, eps: float = L2_EPS) -> Array:
    """Scale each vector to unit length, or by 1/eps where it is too short: ``z / max(‖z‖₂, eps)``.

    Shapes: z (..., K) -> the same.
    Gradient: for ``‖z‖ > eps`` the quotient rule, ``(γ - u ⟨u, γ⟩) / ‖z‖`` with u the result;
        for ``‖z‖ <= eps`` that of z / eps, whose second derivative is 0.
    Edges: the zero vector gives the zero vector, with slope 1/eps. A NaN makes its whole vector
        NaN. The floor is on the norm, as in PyTorch; TensorFlow's epsilon is on its square.
    Raises: ValueError for K = 0, or an eps that is not a normal positive number of the
        accumulation dtype; TypeError for integer or complex z.
    Source: Lin, RoyChowdhury, Maji, ICCV 2015, section 3.1 (l2 normalisation); the floor is ours.
    """
    check_l2_normalize(spec(z), eps)
    return like(_l2_normalize(wide(z), eps), z)


def l2_normalize_vjp(cotangent: Array, z: Array, *, eps: float = L2_EPS) -> tuple[Array]:
    """Gradient of ``⟨cotangent, l2_normalize(z)⟩`` with respect to z."""
    check_l2_normalize(spec(z), eps)
    return (like(_l2_normalize_vjp(wide(cotangent), wide(z), eps), z),)


def _l2_normalize(z, eps):
    return z / _floored(_norm(z), eps)


def _l2_normalize_vjp(ct, z, eps):
    norm = _norm(z)
    floored = _floored(norm, eps)
    u = z / floored
    along = np.sum(u * ct, axis=-1, keepdims=True)
    return np.where(norm <= eps, ct, ct - u * along) / floored


def _norm(z):
    return np.sqrt(np.sum(z * z, axis=-1, keepdims=True))  # z·z, not |z|²: analytic


def _floored(norm, eps):
    return np.where(norm.real <= eps, eps, norm)  # NaN is not <= eps, so it stays
