"""What the matrix root and the pooled covariance accept."""

from typing import Literal

from .arguments import FLAG, NORMALIZATION, ROOT_METHOD, STEP_COUNT, TOLERANCE, check_argument
from .arrays import LAYOUT_REMEDY, Spec, check_float, check_operands, shape_text
from .errors import refuse
from .options import check_reduction

Method = Literal["newton_schulz", "eigen"]
Normalize = Literal["trace", "frobenius"]

STEPS = 5
"""Default number of Newton–Schulz steps, that of the papers."""

SQUARE = "a must hold square matrices (N, C, C) with at least one channel"
SQUARE_REMEDY = "Only the batch axis may be empty (it gives an empty result)."


def check_covariance_pool(x: Spec, y: Spec | None, mask: Spec | None) -> None:
    check_operands("covariance_pool", x, y, mask, rank=3)


def check_covariance_sqrt(
    x: Spec, mask: Spec | None, center: object, reduction: object, *root: object
) -> None:
    op = "covariance_sqrt"
    check_argument(op, "center", center, FLAG)
    check_reduction(op, reduction)
    _check_root(op, *root)
    check_operands(op, x, None, mask, rank=3)


def _check_root(op: str, method: object, steps: object, normalize: object, tol: object) -> None:
    check_argument(op, "method", method, ROOT_METHOD)
    check_argument(op, "steps", steps, STEP_COUNT)
    check_argument(op, "normalize", normalize, NORMALIZATION)
    check_argument(op, "tol", tol, TOLERANCE)


def check_matrix_sqrt(
    a: Spec, method: object, steps: object, normalize: object, tol: object
) -> None:
    op = "matrix_sqrt"
    _check_root(op, method, steps, normalize, tol)
    check_float(op, "a", a.dtype)
    if a.shape is None:
        return
    if len(a.shape) != 3:
        refuse(ValueError, op, "a must be (N, C, C)", f"a {shape_text(a.shape)}", LAYOUT_REMEDY)
    rows, columns = a.shape[1:]
    if 0 in (rows, columns) or (None not in (rows, columns) and rows != columns):
        refuse(ValueError, op, SQUARE, f"a {shape_text(a.shape)}", SQUARE_REMEDY)
