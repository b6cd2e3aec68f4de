"""Where the entries of a symmetric matrix are in its packed upper triangle, and the other way.

The packed triangle has rows (0, 0) … (0, C-1), (1, 1) … of a C × C matrix. On a CPU its indices
are made once for each of the last four C, 12 C² bytes. They are kept by NumPy, because a tensor
would belong to the mode or the transform in which it was made: inference, fake tensors, a level of
`torch.func`.
"""

import functools

import numpy as np
import torch
from torch import Tensor


def packed(channels: int, like: Tensor) -> Tensor:
    """Of each entry of the packed triangle its place in the flat matrix."""
    if _once(like):
        return torch.from_numpy(_packed(channels, channels))
    row, column = torch.triu_indices(channels, channels, device=like.device)
    return row * channels + column


def unpacked(channels: int, like: Tensor) -> Tensor:
    """Of each entry of the flat symmetric matrix its place in the packed triangle."""
    if _once(like):
        return torch.from_numpy(_unpacked(channels))
    index = torch.arange(channels, device=like.device)
    low = torch.minimum(index[:, None], index)
    return (_row(low, channels) + torch.maximum(index[:, None], index) - low).flatten()


def diagonal(channels: int, like: Tensor) -> Tensor:
    """Of each entry of the diagonal its place in the packed triangle."""
    return _row(torch.arange(channels, device=like.device), channels)


def blocks(channels: int, rows: int, like: Tensor) -> list[tuple[slice, slice, Tensor]]:
    """The triangle in blocks of `rows` rows, each a product of its own.

    Of each block its rows, which also are where its columns begin, its entries of the packed
    triangle, and their places in the flat block, rows of ``channels - first row`` columns.
    """
    if rows >= channels:
        return [(slice(0, channels), slice(None), packed(channels, like))]
    index = torch.from_numpy(_packed(channels, rows)).to(like.device)
    found = []
    for first in range(0, channels, rows):
        last = min(first + rows, channels)
        entries = slice(_row(first, channels), _row(last, channels))
        found.append((slice(first, last), entries, index[entries]))
    return found


def _once(like: Tensor) -> bool:
    """Whether the indices of these features are ones that can be kept."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing():  # pyright: ignore
        return False
    return like.device.type == "cpu"


def _row(c, channels):
    """Where row c of the packed triangle begins."""
    return c * channels - c * (c - 1) // 2


# Row by row: index arithmetic on whole matrices would take several times their space.


@functools.lru_cache(4)
def _packed(channels: int, rows: int) -> np.ndarray:
    places = np.empty(_row(channels, channels), np.int64)
    for c in range(channels):
        first = c // rows * rows
        begin = (c - first) * (channels - first) + c - first
        places[_row(c, channels) : _row(c + 1, channels)] = np.arange(begin, begin + channels - c)
    return places


@functools.lru_cache(4)
def _unpacked(channels: int) -> np.ndarray:
    places = np.empty((channels, channels), np.int64)
    for c in range(channels):
        entries = np.arange(_row(c, channels), _row(c + 1, channels))
        places[c, c:] = places[c:, c] = entries
    return places.ravel()
