"""The published forms of the root and of the norm: their names, and what goes with them."""

from typing import Literal

from . import Spec, _shape_text, check_floor, check_outer_pool, check_power, refuse
from .packed import HALF, HALF_REMEDY, check_flag

Root = Literal["signed", "shifted", "unsigned"]
Norm = Literal["floor", "added"]

ROOTS = ("signed", "shifted", "unsigned")
NORMS = ("floor", "added")


def check_root(op: str, dtype: str, eps: float, root: object, slope_eps: float | None) -> None:
    """A form of the signed root beside its eps, and the slope that stands for its derivative."""
    if root not in ROOTS:
        invariant = "root must be 'signed', 'shifted' or 'unsigned'"
        remedy = "'signed' jumps at 0, 'shifted' is continuous, 'unsigned' is for values >= 0."
        refuse(ValueError, op, invariant, repr(root), remedy)
    if root == "unsigned" and eps == 0:
        remedy = "Its slope at 0 is 1 / (2 √eps); without eps there is the signed root."
        refuse(ValueError, op, "the unsigned root needs eps > 0", f"{eps!r}", remedy)
    if slope_eps is None:
        return
    check_floor(op, slope_eps, dtype, name="slope_eps")
    if root != "signed" or eps != 0:
        remedy = "It is that root's published slope, 1 / (2 (√|g| + slope_eps))."
        received = f"root={root!r}, eps={eps!r}"
        refuse(ValueError, op, "slope_eps needs the signed root without eps", received, remedy)


def check_norm(op: str, norm: object) -> None:
    """A form of the norm."""
    if norm not in NORMS:
        invariant = "norm must be 'floor' or 'added'"
        remedy = "'floor' is max(‖z‖, eps), 'added' is √(‖z‖² + eps)."
        refuse(ValueError, op, invariant, repr(norm), remedy)


def check_descriptor(
    op: str,
    dtype: str,
    y: Spec | None,
    eps: float,
    l2_eps: float,
    packed: object,
    root: object,
    slope_eps: float | None,
    norm: object,
) -> None:
    """What makes a pooled matrix a descriptor: root, norm, their forms, and all of it or half."""
    check_power(op, dtype, eps, l2_eps)
    check_flag(op, "packed", packed)
    if packed and y is not None:
        refuse(ValueError, op, HALF, f"y {_shape_text(y.shape)}", HALF_REMEDY)
    check_root(op, dtype, eps, root, slope_eps)
    check_norm(op, norm)


def check_bilinear_pool(
    x: Spec, y: Spec | None, mask: Spec | None, reduction: object, *descriptor: object
) -> None:
    """`descriptor` is as `check_descriptor` takes it, from eps on."""
    check_outer_pool(x, y, mask, reduction, "bilinear_pool")
    check_descriptor("bilinear_pool", x.dtype, y, *descriptor)  # type: ignore[arg-type]
