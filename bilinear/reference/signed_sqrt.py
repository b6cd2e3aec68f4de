"""The element-wise signed square root."""

import numpy as np

from ..contract import EPS, check_signed_sqrt
from ._arrays import Array, like, spec, wide


def signed_sqrt(g: Array, *, eps: float = EPS) -> Array:
    """Signed square root with eps inside the root: ``sign(g) · √(|g| + eps)``.

    Shapes: g of any shape -> the same.
    Gradient: ``1 / (2 √(|g| + eps))``.
    Edges: exactly 0 at ±0, a jump of √eps on either side of it. At exactly 0 every derivative
        of every order is 0, also for eps = 0 where the slope beside it is infinite: one dead
        channel must never turn a gradient into NaN. NaN stays NaN.
    Raises: ValueError unless eps is 0 or a normal positive number of the accumulation dtype,
        TypeError for integer or complex g.
    Source: Lin, RoyChowdhury, Maji, ICCV 2015, section 3.1 (signed square-root step); eps and
        the convention at 0 are ours.
    """
    check_signed_sqrt(spec(g), eps)
    return like(_signed_sqrt(wide(g), eps), g)


def signed_sqrt_vjp(cotangent: Array, g: Array, *, eps: float = EPS) -> tuple[Array]:
    """Gradient of ``⟨cotangent, signed_sqrt(g)⟩`` with respect to g."""
    check_signed_sqrt(spec(g), eps)
    return (like(_signed_sqrt_vjp(wide(cotangent), wide(g), eps), g),)


def _signed_sqrt(g, eps):
    sign = np.sign(g.real)
    return sign * np.sqrt(sign * g + eps)  # sign · g is |g|, written analytically


def _signed_sqrt_vjp(ct, g, eps):
    dead = g == 0
    return np.where(dead, 0, 0.5 / np.sqrt(np.where(dead, 1, np.abs(g)) + eps)) * ct
