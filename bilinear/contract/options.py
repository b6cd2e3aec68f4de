"""The options of a bilinear descriptor as one value, and the checks of its root and norm."""

from typing import Any, Literal, NamedTuple

from .arguments import EPS as EPS_KIND
from .arguments import FLAG, FLOOR, NORM, REDUCTION, ROOT, SLOPE, Kind, check_argument
from .arrays import ACCUMULATION, RANGE, Spec, shape_text
from .errors import refuse

Reduction = Literal["mean", "sum"]
Root = Literal["signed", "shifted", "unsigned"]
Norm = Literal["floor", "added"]

EPS = 1e-10
"""Default eps of the signed square root, inside the root."""
L2_EPS = 1e-12
"""Default lower bound of the norm in the L2 normalization."""

ONE_STREAM = "packed=True is for one stream"
ONE_STREAM_REMEDY = "Leave out the second stream, or packed."


class DescriptorOptions(NamedTuple):
    """How `bilinear_pool` makes a descriptor of a pooled matrix."""

    reduction: Reduction = "mean"
    eps: float = EPS
    l2_eps: float = L2_EPS
    packed: bool = False
    root: Root = "signed"
    slope_eps: float | None = None
    norm: Norm = "floor"


def is_standard(options: DescriptorOptions) -> bool:
    """Whether root and norm are the defaults. Dynamo 2.8 traces no property of a NamedTuple."""
    return options.root == "signed" and options.slope_eps is None and options.norm == "floor"


def check_options(op: str, options: DescriptorOptions, dtype: str, y: Spec | None = None) -> None:
    """Check all options of a descriptor of features of `dtype`."""
    check_reduction(op, options.reduction)
    check_root_and_norm(op, dtype, options.eps, options.l2_eps)
    check_argument(op, "packed", options.packed, FLAG)
    if options.packed and y is not None:
        refuse(ValueError, op, ONE_STREAM, f"y {shape_text(y.shape)}", ONE_STREAM_REMEDY)
    check_root(op, dtype, options.eps, options.root, options.slope_eps)
    check_argument(op, "norm", options.norm, NORM)


def check_reduction(op: str, reduction: object) -> None:
    check_argument(op, "reduction", reduction, REDUCTION)


def check_eps(op: str, eps: float, dtype: str, *, name: str = "eps") -> None:
    """The eps of the signed root: 0, or a normal number of the accumulation dtype."""
    _check_range(op, name, eps, EPS_KIND, dtype)


def check_floor(op: str, eps: float, dtype: str, *, name: str = "eps") -> None:
    """The lower bound of a norm: a normal positive number of the accumulation dtype."""
    _check_range(op, name, eps, FLOOR, dtype)


def _check_range(op: str, name: str, value: Any, kind: Kind, dtype: str) -> None:
    check_argument(op, name, value, kind)
    low, high = RANGE[ACCUMULATION[dtype]]
    if value and not low <= float(value) <= high:
        requirement = f"{name} must be {kind.words} of {ACCUMULATION[dtype]}"
        refuse(ValueError, op, requirement, repr(value), f"Use a value from {low:.3g} up.")


def check_root_and_norm(op: str, dtype: str, eps: float, l2_eps: float) -> None:
    """The eps of root and norm, for features of `dtype`."""
    check_eps(op, eps, dtype)
    check_floor(op, l2_eps, dtype, name="l2_eps")


def check_root(op: str, dtype: str, eps: float, root: object, slope_eps: float | None) -> None:
    """The form of the root, which some values of eps exclude, and the published slope."""
    check_argument(op, "root", root, ROOT)
    check_forms(op, eps, root, slope_eps)
    if slope_eps is not None:
        _check_range(op, "slope_eps", slope_eps, SLOPE, dtype)


def check_forms(
    op: str, eps: Any, root: object, slope_eps: object, remedy: str | None = None
) -> None:
    """ValueError for a combination of root, eps and slope that no operator computes."""
    if root == "unsigned" and eps == 0:
        own = "Its slope at 0 is 1 / (2 √eps); without eps there is the signed root."
        refuse(ValueError, op, "the unsigned root needs eps > 0", f"{eps!r}", remedy or own)
    if slope_eps is not None and (root != "signed" or eps != 0):
        own = "It is that root's published slope, 1 / (2 (√|g| + slope_eps))."
        requirement = "slope_eps needs the signed root without eps"
        refuse(ValueError, op, requirement, f"root={root!r}, eps={eps!r}", remedy or own)
