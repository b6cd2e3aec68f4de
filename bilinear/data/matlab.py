"""MATLAB files, read by SciPy after a check of their structure.

SciPy reads nested arrays by recursion, which can end the process, and allocates an array of the
size in its header before it reads the elements.

References: MathWorks, "MAT-File Format", level 5.
"""

import io
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from .._files import open_regular
from .._require import require_packages
from ..contract import message

MAX_BYTES = 2**24
"""Largest size of a file, after decompression. That of Stanford Cars has about 7 MB."""
MAX_DEPTH = 8
"""Largest depth of nested arrays. The annotations of Stanford Cars have a depth of 2."""
_MATRIX, _COMPRESSED = 14, 15
_CELL, _STRUCT = 1, 2
_PLAIN = (4, *range(6, 16))
"""Classes of character and numeric arrays; sparse ones are not in use."""
_COMPLEX = 0x0800
"""Flag of an array with two elements, for the real and the imaginary part."""


def read_variable(op: str, file: Path, name: str) -> np.ndarray:
    """Read one variable of a MATLAB file, squeezed, with at least one dimension.

    Raises: ValueError that names the file if it is damaged, deeper than `MAX_DEPTH` or larger than
        `MAX_BYTES`; OSError if it cannot be opened; ImportError if SciPy is not installed.
    """
    require_packages(f"{op} ({__name__})", ("scipy",), "cli")
    from scipy.io import loadmat  # noqa: PLC0415 (only this format needs it)

    with open_regular(file) as stream:
        content = stream.read(MAX_BYTES + 1)
    try:
        checked = io.BytesIO(_check(content))
        return np.atleast_1d(loadmat(checked, squeeze_me=True, variable_names=[name])[name])
    except Exception as error:  # SciPy raises many types for a damaged file
        invariant = f"{file} must be the annotation file of the data set in MATLAB format"
        remedy = "Unpack or download the annotations again."
        received = f"{type(error).__name__}: {error}"
        raise ValueError(message(op, invariant, received, remedy)) from error


def _check(content: bytes) -> bytes:
    """Return the file without compression. Raises: ValueError or struct.error for a bad one."""
    if len(content) > MAX_BYTES:
        raise ValueError(f"more than {MAX_BYTES:,} bytes")
    order = {b"IM": "<", b"MI": ">"}.get(content[126:128])
    if order is None or content[:1] == b"\0":
        raise ValueError("no header of a MATLAB 5 file")
    parts, position, size = [content[:128]], 128, 128
    while position < len(content):
        kind, length = struct.unpack_from(f"{order}II", content, position)
        element = content[position : position + 8 + length]
        if len(element) < 8 + length:
            raise ValueError("a truncated file")
        position += 8 + length
        if kind == _COMPRESSED:
            decompress = zlib.decompressobj()
            element = decompress.decompress(element[8:], MAX_BYTES - size + 1)
            if not decompress.eof and len(element) <= MAX_BYTES - size:
                raise ValueError("a truncated element")
        size += len(element)
        if size > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES:,} bytes after decompression")
        _check_matrices(element, order)
        parts.append(element)
    return b"".join(parts)


def _check_matrices(data: bytes, order: str) -> None:
    """Check the depth of arrays, and that each consists of the elements that its header announces.

    SciPy reads as many elements as are announced, also beyond the end of the array.
    """
    kind, start, stop, position = _element(data, 0, order)
    if kind != _MATRIX or position != len(data):
        raise ValueError(f"an element of type {kind} in place of an array")
    pending = [(start, stop, 1)]
    while pending:
        start, stop, depth = pending.pop()
        if depth > MAX_DEPTH:
            raise ValueError(f"more than {MAX_DEPTH} nested arrays")
        (flags,) = struct.unpack_from(f"{order}I", data, start + 8)
        _, first, last, position = _element(data, start + 16, order)
        shape = struct.unpack_from(f"{order}{(last - first) // 4}i", data, first)
        array_class, count = flags & 0xFF, math.prod(shape)
        if min(shape, default=0) < 0 or count > stop - start:
            raise ValueError(f"an array of shape {shape} in {stop - start} bytes")
        *_, position = _element(data, position, order)  # the name
        announced, children = count, []
        if array_class == _STRUCT:
            _, first, _, position = _element(data, position, order)
            (length,) = struct.unpack_from(f"{order}i", data, first)
            _, first, last, position = _element(data, position, order)
            announced = count * ((last - first) // length)
        elif array_class in _PLAIN:
            announced = 1 + bool(flags & _COMPLEX)
        elif array_class != _CELL:
            raise ValueError(f"an array of class {array_class}")
        found = 0
        while position < stop:
            kind, first, last, position = _element(data, position, order)
            if (kind == _MATRIX) == (array_class in _PLAIN):
                raise ValueError(f"an element of type {kind} in an array of class {array_class}")
            if kind == _MATRIX and first < last:
                children.append((first, last, depth + 1))
            found += 1
        if position != stop or found != announced:
            raise ValueError(f"{found} elements in an array of {announced}")
        pending += children


def _element(data: bytes, position: int, order: str) -> tuple[int, int, int, int]:
    """The type of an element, the start and the end of its data, and the next position."""
    kind, length = struct.unpack_from(f"{order}II", data, position)
    if kind >> 16:  # a small element: type and length in the first four bytes
        return kind & 0xFFFF, position + 4, position + 4 + (kind >> 16), position + 8
    stop = position + 8 + length
    if stop > len(data):
        raise ValueError("a truncated element")
    return kind, position + 8, stop, stop + (-length % 8 if kind != _MATRIX else 0)
