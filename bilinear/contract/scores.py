"""What the scores of a classifier on the bilinear descriptor need, and how they are divided."""

from typing import Any

from . import Reduction, Spec, check_outer_pool
from .forms import check_descriptor
from .low_rank import check_weight
from .packed import descriptor_size

BLOCKS = 8
"""In how many blocks of rows a matrix is taken: of so little of it a time there is memory."""


def check_bilinear_scores(
    x: Spec,
    weight: Spec,
    bias: Spec | None,
    y: Spec | None,
    mask: Spec | None,
    reduction: Reduction,
    eps: float,
    l2_eps: float,
    packed: bool,
) -> None:
    op = "bilinear_scores"
    check_outer_pool(x, y, mask, reduction, op)
    check_descriptor(op, x.dtype, y, eps, l2_eps, packed, "signed", None, "floor")
    check_weight(op, "weight", weight, x, layout(y, packed), (None, _size(op, x, y, packed)))
    if bias is not None:
        classes = None if weight.shape is None else weight.shape[0]
        check_weight(op, "bias", bias, x, "(K,)", (classes,))


def layout(y: object, packed: bool) -> str:
    """What a weight must be, in words."""
    return "(K, C(C+1)/2)" if packed else "(K, C·C)" if y is None else "(K, C·D)"


def _size(op: str, x: Spec, y: Spec | None, packed: bool) -> Any:
    """Of the descriptor; None where a number of channels is not known yet."""
    c, d = (None if s.shape is None else s.shape[2] for s in (x, x if y is None else y))
    if c is None or d is None:
        return None
    return descriptor_size(op, packed, c, None if y is None else d)


def row_blocks(channels: Any) -> list[slice]:
    """The rows of a matrix of so many, in at most `BLOCKS` blocks of (nearly) one size."""
    rows = -(-channels // BLOCKS)
    return [slice(i, min(i + rows, channels)) for i in range(0, channels, rows)]


def entries(rows: slice, columns: int, packed: bool) -> slice:
    """Where the descriptor has those rows of a matrix of so many columns, flattened or halved."""

    def before(row: int) -> int:
        """How many entries the rows before it have; of a half, row r lacks the first r."""
        return row * columns - (row * (row - 1) // 2 if packed else 0)

    return slice(before(rows.start), before(rows.stop))
