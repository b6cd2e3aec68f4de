"""The element-wise signed square root."""

import numpy as np

from ..contract import EPS, Root
from ..contract.pooling import check_signed_sqrt
from ._arrays import Array, like, spec, wide


def signed_sqrt(
    g: Array, *, eps: float = EPS, root: Root = "signed", slope_eps: float | None = None
) -> Array:
    """Signed square root with eps inside the root: ``sign(g) · √(|g| + eps)``.

    Published forms: ``"shifted"`` is continuous, ``sign(g) · (√(|g| + eps) - √eps)``;
    ``"unsigned"`` is ``√(g + eps)``, for values that are not negative.

    Args:
        g: values of any shape.
        eps: added inside the root, 0 or a positive number. Default 1e-10.
        root: ``"signed"``, ``"shifted"`` or ``"unsigned"``. Default ``"signed"``.
        slope_eps: positive number for a published backward pass, ``1 / (2 (√|g| + slope_eps))``,
            which needs ``root="signed"`` and ``eps=0``; None is the derivative. Default None.

    Returns:
        Roots in the shape and dtype of g.

    Shape:
        g of any shape -> the same.

    Gradient:
        ``1 / (2 √(|g| + eps))``. With `slope_eps`, for eps = 0, it is replaced by a published
        backward pass that is not the derivative, ``1 / (2 (√|g| + slope_eps))``, whose result is
        a constant to further derivatives.
        Exactly 0 at ±0, a jump of √eps on either side of it. At exactly 0 every derivative of
        every order is 0, also for eps = 0 where the slope beside it is infinite: one dead channel
        must never turn a gradient into NaN. This is so for the shifted form too, which has no
        jump. Two forms differ at 0: the unsigned root has value √eps and slope 1 / (2 √eps) there
        (below -eps it is NaN), and with slope_eps the slope is 1 / (2 slope_eps). NaN stays NaN.

    Raises:
        ValueError unless eps is 0 or a normal positive number of the accumulation dtype, for an
        unknown form, the unsigned one without eps, or a `slope_eps` with any but the signed one
        without eps; TypeError for integer or complex g.

    Example:
        >>> signed_sqrt(np.array([-4.0, 0.0, 9.0]), eps=0)
        array([-2.,  0.,  3.])

    References:
        Lin, RoyChowdhury, Maji, ICCV 2015, section 3.1 (signed square-root step); eps and the
        convention at 0 are ours. `bilinear.presets` says who published the others.
    """
    _check(g, eps, root, slope_eps)
    return like(_signed_sqrt(wide(g), eps, root, slope_eps), g)


def signed_sqrt_vjp(
    cotangent: Array,
    g: Array,
    *,
    eps: float = EPS,
    root: Root = "signed",
    slope_eps: float | None = None,
) -> tuple[Array]:
    """Gradient of ``⟨cotangent, signed_sqrt(g)⟩`` with respect to g."""
    _check(g, eps, root, slope_eps)
    return (like(_signed_sqrt_vjp(wide(cotangent), wide(g), eps, root, slope_eps), g),)


def _check(g, eps, root, slope_eps):
    check_signed_sqrt(spec(g), eps, root, slope_eps)


def _signed_sqrt(g, eps, root="signed", slope_eps=None):
    if root == "unsigned":
        with np.errstate(invalid="ignore"):
            return np.sqrt(g + eps)
    sign = np.sign(g.real)
    magnitude = np.sqrt(sign * g + eps)  # sign · g is |g|, written analytically
    if root == "shifted":  # √(|g| + eps) - √eps, which would cancel
        return g / np.where(sign == 0, 1, magnitude + float(eps) ** 0.5)
    return sign * magnitude


def _signed_sqrt_vjp(ct, g, eps, root="signed", slope_eps=None):
    if slope_eps is not None:
        return 0.5 / (np.sqrt(np.abs(g)) + slope_eps) * ct
    if root == "unsigned":
        with np.errstate(invalid="ignore", divide="ignore"):
            return 0.5 / np.sqrt(g + eps) * ct
    dead = g == 0
    return np.where(dead, 0, 0.5 / np.sqrt(np.where(dead, 1, np.abs(g)) + eps)) * ct
