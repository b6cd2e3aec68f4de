"""A matrix in blocks of rows, of which `bilinear_scores` holds one at a time."""

from typing import Any

BLOCKS = 8
"""The largest number of row blocks; one block is in memory at a time."""


def row_blocks(channels: Any) -> list[slice]:
    """The rows of a matrix in at most `BLOCKS` blocks of (nearly) equal size."""
    rows = -(-channels // BLOCKS)
    return [slice(i, min(i + rows, channels)) for i in range(0, channels, rows)]


def entries(rows: slice, columns: int, packed: bool) -> slice:
    """The entries of the descriptor, flat or packed, that come from these rows of the matrix."""

    def start(row: int) -> int:
        return row * columns - (row * (row - 1) // 2 if packed else 0)

    return slice(start(rows.start), start(rows.stop))
