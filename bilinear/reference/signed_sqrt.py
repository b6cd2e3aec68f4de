"""The element-wise signed square root."""

import numpy as np

from ..contract import EPS, Root
from ..contract.pooling import check_signed_sqrt
from ._arrays import Array, round_to, spec, upcast


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
        ``1 / (2 √(|g| + eps))``. With `slope_eps` and eps = 0, a published backward pass replaces
        it, ``1 / (2 (√|g| + slope_eps))``. It is not the derivative, and it is a constant in
        further derivatives.
        At exactly 0, the signed and the shifted form have value 0 and derivatives 0 of every
        order, also for eps = 0, where the slope next to 0 is infinite. Therefore, a channel that
        is all zero never makes a gradient NaN. The signed form jumps by √eps on either side of 0,
        and the shifted form has no jump. The unsigned form has value √eps and slope 1 / (2 √eps)
        at 0, and is NaN below -eps. With `slope_eps`, the slope at 0 is 1 / (2 slope_eps). NaN
        stays NaN.

    Raises:
        ValueError if eps is neither 0 nor a normal positive number of the accumulation dtype, for
        an unknown form, for the unsigned form with eps = 0, and for `slope_eps` unless the form is
        signed and eps is 0; TypeError for integer or complex g.

    Example:
        >>> signed_sqrt(np.array([-4.0, 0.0, 9.0]), eps=0)
        array([-2.,  0.,  3.])

    References:
        Lin, RoyChowdhury, Maji, ICCV 2015, section 3.1 (signed square-root step); eps and the
        convention at 0 are ours. `bilinear.presets` says who published the others.
    """
    check_signed_sqrt(spec(g), eps, root, slope_eps)
    return round_to(_signed_sqrt(upcast(g), eps, root, slope_eps), g)


def signed_sqrt_vjp(
    cotangent: Array,
    g: Array,
    *,
    eps: float = EPS,
    root: Root = "signed",
    slope_eps: float | None = None,
) -> tuple[Array]:
    """Gradient of ``⟨cotangent, signed_sqrt(g)⟩`` with respect to g."""
    check_signed_sqrt(spec(g), eps, root, slope_eps)
    return (round_to(_signed_sqrt_vjp(upcast(cotangent), upcast(g), eps, root, slope_eps), g),)


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
