"""Indices between a symmetric C × C matrix and its packed triangle, (0, 0) … (0, C-1), (1, 1) …

On a CPU the indices are cached for the last four C, 12 C² bytes, as NumPy arrays: a tensor would
belong to the mode or transform in which it was made (inference, fake tensors, `torch.func`).
"""

import functools

import numpy as np
import torch
from torch import Tensor


def packed_to_flat(channels: int, like: Tensor) -> Tensor:
    """Flat index in the matrix of each packed entry."""
    if _is_cached(like):
        return torch.from_numpy(_packed_to_flat(channels, channels))
    if torch.jit.is_tracing():  # pyright: ignore # the graph may become ONNX, which lacks the indices
        ones = torch.ones(channels, channels, device=like.device)
        row, column = ones.triu().nonzero().unbind(1)
    else:
        row, column = torch.triu_indices(channels, channels, device=like.device)
    return row * channels + column


def flat_to_packed(channels: int, like: Tensor) -> Tensor:
    """Packed index of each entry of the flat symmetric matrix."""
    if _is_cached(like):
        return torch.from_numpy(_flat_to_packed(channels))
    index = torch.arange(channels, device=like.device)
    low = torch.minimum(index[:, None], index)
    return (_row(low, channels) + torch.maximum(index[:, None], index) - low).flatten()


def diagonal_entries(channels: int, like: Tensor) -> Tensor:
    """Packed index of each entry of the diagonal."""
    return _row(torch.arange(channels, device=like.device), channels)


def triangle_blocks(channels: int, rows: int, like: Tensor) -> list[tuple[slice, slice, Tensor]]:
    """Split the triangle into blocks of `rows` rows, each of which is one matrix product.

    A block has its rows, whose start is its first column too, its packed entries, and their flat
    indices in the block, whose rows have ``channels - first row`` columns.
    """
    if rows >= channels:
        return [(slice(0, channels), slice(None), packed_to_flat(channels, like))]
    index = torch.from_numpy(_packed_to_flat(channels, rows)).to(like.device)
    found = []
    for first in range(0, channels, rows):
        last = min(first + rows, channels)
        entries = slice(_row(first, channels), _row(last, channels))
        found.append((slice(first, last), entries, index[entries]))
    return found


def _is_cached(like: Tensor) -> bool:
    """Whether the indices may come from the cache."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing():  # pyright: ignore
        return False
    return like.device.type == "cpu"


def _row(c, channels):
    """Packed index of the first entry of row c."""
    return c * channels - c * (c - 1) // 2


# Row by row, because index arithmetic on whole matrices would need several times their memory.


@functools.lru_cache(4)
def _packed_to_flat(channels: int, rows: int) -> np.ndarray:
    indices = np.empty(_row(channels, channels), np.int64)
    for c in range(channels):
        first = c // rows * rows
        begin = (c - first) * (channels - first) + c - first
        indices[_row(c, channels) : _row(c + 1, channels)] = np.arange(begin, begin + channels - c)
    return indices


@functools.lru_cache(4)
def _flat_to_packed(channels: int) -> np.ndarray:
    indices = np.empty((channels, channels), np.int64)
    for c in range(channels):
        entries = np.arange(_row(c, channels), _row(c + 1, channels))
        indices[c, c:] = indices[c:, c] = entries
    return indices.ravel()
