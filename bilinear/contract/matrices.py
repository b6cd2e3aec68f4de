"""What the matrix root and the pooled covariance accept, and the layers around them."""

from typing import Literal

from . import (
    LAYOUT_REMEDY,
    Spec,
    _shape_text,
    check_float,
    check_number,
    check_operands,
    check_power,
    check_reduction,
    refuse,
)
from ._counts import check_count
from .forms import check_root as check_element_root

Method = Literal["newton_schulz", "eigen"]
Normalize = Literal["trace", "frobenius"]

METHODS = ("newton_schulz", "eigen")
NORMALIZATIONS = ("trace", "frobenius")
STEPS = 5
"""Default number of Newton–Schulz steps, that of the papers."""

SQUARE = "a must hold square matrices (N, C, C) with at least one channel"
SQUARE_REMEDY = "Only the batch axis may be empty (it gives an empty result)."


def check_covariance_pool(
    x: Spec, y: Spec | None, mask: Spec | None, op: str = "covariance_pool"
) -> None:
    check_operands(op, x, y, mask, rank=3)


def check_root(op: str, method: object, steps: object, normalize: object, tol: object) -> None:
    """The options of a matrix root: what a layer can check when it is made."""
    if method not in METHODS:
        invariant = "method must be 'newton_schulz' or 'eigen'"
        remedy = "'newton_schulz' is `steps` products of an iteration, 'eigen' the exact root."
        refuse(ValueError, op, invariant, repr(method), remedy)
    check_count(op, "steps", steps, f"The papers take {STEPS}.")
    if normalize not in NORMALIZATIONS:
        invariant = "normalize must be 'trace' or 'frobenius'"
        remedy = "The iteration needs a matrix of norm below √3, and is given one of at most 1."
        refuse(ValueError, op, invariant, repr(normalize), remedy)
    if tol is None:
        return
    check_number(op, "tol", tol)
    if not 0 <= tol < 1:  # type: ignore[operator]
        invariant = "tol must be None or at least 0 and below 1"
        remedy = "It is a fraction of the largest eigenvalue; None is C times the unit roundoff."
        refuse(ValueError, op, invariant, repr(tol), remedy)


def check_matrix_sqrt(
    a: Spec, method: object, steps: object, normalize: object, tol: object
) -> None:
    op = "matrix_sqrt"
    check_root(op, method, steps, normalize, tol)
    check_float(op, "a", a.dtype)
    if a.shape is None:
        return
    if len(a.shape) != 3:
        refuse(ValueError, op, "a must be (N, C, C)", f"a {_shape_text(a.shape)}", LAYOUT_REMEDY)
    rows, columns = a.shape[1:]
    if 0 in (rows, columns) or (None not in (rows, columns) and rows != columns):
        refuse(ValueError, op, SQUARE, f"a {_shape_text(a.shape)}", SQUARE_REMEDY)


def check_improved(
    op: str, dtype: str, reduction: object, eps: float, root: object, l2_eps: float
) -> None:
    """What goes round the matrix root of `ImprovedBilinearPool`."""
    check_reduction(op, reduction)
    check_power(op, dtype, eps, l2_eps)
    check_element_root(op, dtype, eps, root, None)
