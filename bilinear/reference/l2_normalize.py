"""L2 normalization over the last axis, with a floor on the norm."""

import numpy as np

from ..contract import L2_EPS, Norm
from ..contract.pooling import check_l2_normalize
from ._arrays import Array, round_to, spec, upcast


def l2_normalize(z: Array, *, eps: float = L2_EPS, norm: Norm = "floor") -> Array:
    """Scale each vector to unit length: ``z / max(‖z‖₂, eps)``.

    ``norm="added"`` is ``z / √(‖z‖₂² + eps)``, as in published Caffe layers.

    Args:
        z: vectors (..., K).
        eps: lower bound of the norm, a positive number. Default 1e-12.
        norm: ``"floor"``, or ``"added"`` for ``z / √(‖z‖₂² + eps)``. Default ``"floor"``.

    Returns:
        Vectors in the shape and dtype of z.

    Shape:
        z (..., K) -> the same.

    Gradient:
        With u the result: ``(γ - u ⟨u, γ⟩) / ‖z‖`` for ``‖z‖ > eps``, and ``γ / eps`` for ``‖z‖ <=
        eps``, where the second derivative is 0. For ``norm="added"`` it is ``(γ - u ⟨u, γ⟩) /
        √(‖z‖² + eps)`` everywhere.
        The zero vector gives the zero vector, with slope 1/eps (1/√eps for ``norm="added"``). A
        NaN makes its whole vector NaN. The lower bound is on the norm, as in PyTorch; TensorFlow's
        epsilon is on its square.

    Raises:
        ValueError for K = 0, an unknown form, or an eps that is not a normal positive number of
        the accumulation dtype; TypeError for integer or complex z.

    Example:
        >>> l2_normalize(np.array([3.0, 4.0]))
        array([0.6, 0.8])

    References:
        Lin, RoyChowdhury, Maji, ICCV 2015, section 3.1 (l2 normalization); the lower bound is
        ours.
    """
    check_l2_normalize(spec(z), eps, norm)
    return round_to(_l2_normalize(upcast(z), eps, norm), z)


def l2_normalize_vjp(
    cotangent: Array, z: Array, *, eps: float = L2_EPS, norm: Norm = "floor"
) -> tuple[Array]:
    """Gradient of ``⟨cotangent, l2_normalize(z)⟩`` with respect to z."""
    check_l2_normalize(spec(z), eps, norm)
    return (round_to(_l2_normalize_vjp(upcast(cotangent), upcast(z), eps, norm), z),)


def _l2_normalize(z, eps, norm="floor"):
    return z / _divisor(z, eps, norm)[0]


def _l2_normalize_vjp(ct, z, eps, norm="floor"):
    divisor, short = _divisor(z, eps, norm)
    u = z / divisor
    along = np.sum(u * ct, axis=-1, keepdims=True)
    return np.where(short, ct, ct - u * along) / divisor


def _divisor(z, eps, norm):
    """The divisor of each vector, and whether it is the lower bound."""
    square = np.sum(z * z, axis=-1, keepdims=True)  # z·z is analytic, |z|² is not
    if norm == "added":
        return np.sqrt(square + eps), False
    length = np.sqrt(square)
    short = length.real <= eps  # False for NaN, which stays
    return np.where(short, eps, length), short
