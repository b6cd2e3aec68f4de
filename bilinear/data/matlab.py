"""Cell and struct arrays in MATLAB files.

Damaged files end the process in SciPy's reader: it reads nested arrays by recursion, and it looks
element types up without a check. This reader knows the types of annotation files only.

References: MathWorks, "MAT-File Format", level 5.
"""

import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .._files import open_regular
from ..contract import message

MAX_BYTES = 2**24
"""Largest size of a file, after decompression. That of Stanford Cars has about 7 MB."""
MAX_DEPTH = 8
"""Largest depth of nested arrays. The annotations of Stanford Cars have a depth of 2."""
MAX_RANK = 32
_INT8, _INT32, _UINT32, _MATRIX, _COMPRESSED = 1, 5, 6, 14, 15
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8"}
_NUMBERS |= {12: "i8", 13: "u8"}
_TEXTS = {1: "latin-1", 2: "latin-1", 4: "utf-16-{}", 16: "utf-8", 17: "utf-16-{}", 18: "utf-32-{}"}
_CELL, _STRUCT, _CHAR, _NUMERIC = 1, 2, 4, range(6, 16)
_COMPLEX = 0x0800
_EMPTY = np.zeros(0)


def read_variable(op: str, file: Path, name: str) -> list[Any]:
    """Read the elements of a cell array, or of a struct array as dictionaries.

    Within them, text is a string, numbers are a flat array, and cell and struct arrays are lists.

    Raises: ValueError that names the file if it is damaged, has another kind of variable, is deeper
        than `MAX_DEPTH` or larger than `MAX_BYTES`; OSError if it cannot be opened.
    """
    with open_regular(file) as stream:
        content = stream.read(MAX_BYTES + 1)
    try:
        return _find(content, name.encode())
    except (ValueError, struct.error) as error:
        invariant = f"{file} must be the annotation file of the data set in MATLAB format"
        remedy = "Unpack or download the annotations again."
        raise ValueError(message(op, invariant, f"{error}", remedy)) from error


def _find(content: bytes, name: bytes) -> list[Any]:
    order = {b"IM": "<", b"MI": ">"}.get(content[126:128])
    if order is None or content[:1] == b"\0":
        raise ValueError("no header of a MATLAB 5 file")
    left = MAX_BYTES
    for kind, data in _elements(content[128:], order):
        array = _decompress(data, order, left) if kind == _COMPRESSED else data
        left -= len(array)
        if left < 0:
            raise ValueError(f"more than {MAX_BYTES:,} bytes")
        if kind not in (_MATRIX, _COMPRESSED):
            raise ValueError(f"an element of type {kind} in place of an array")
        found, value = _array(array, order, 1, name)
        if found == name and isinstance(value, list):
            return value
    raise ValueError(f"no cell or struct array {name.decode()}")


def _decompress(data: bytes, order: str, limit: int) -> bytes:
    """The only element of compressed data; if it has more than `limit` bytes, a part of it."""
    try:
        unpacked = zlib.decompressobj().decompress(data, limit + 1)
    except zlib.error as error:
        raise ValueError(f"{error}") from error
    if len(unpacked) > limit:
        return unpacked
    ((kind, array),) = _elements(unpacked, order)
    if kind != _MATRIX:
        raise ValueError(f"an element of type {kind} in place of an array")
    return array


def _elements(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """The types and data of elements that follow each other up to the end."""
    position = 0
    while position < len(data):
        kind, length = struct.unpack_from(f"{order}II", data, position)
        start, padding = position + 8, -length % 8 if kind not in (_MATRIX, _COMPRESSED) else 0
        if kind >> 16:  # a small element: length, type and data are in eight bytes
            kind, length, start = kind & 0xFFFF, kind >> 16, position + 4
            padding = 4 - length
        position = start + length + padding
        if padding < 0 or position > len(data):
            raise ValueError("a truncated element")
        yield kind, data[start : start + length]


def _array(data: bytes, order: str, depth: int, wanted: bytes = b"") -> tuple[bytes, Any]:
    """The name and the value of an array. The value is None if the name is not `wanted`."""
    if depth > MAX_DEPTH:
        raise ValueError(f"more than {MAX_DEPTH} nested arrays")
    if not data:
        return b"", _EMPTY
    elements = _elements(data, order)
    first = [next(elements, (0, b"")) for _ in range(3)]
    if [kind for kind, _ in first] != [_UINT32, _INT32, _INT8]:
        raise ValueError("a header that is not that of an array")
    (_, flags), (_, shape), (_, name) = first
    if name != wanted:
        return name, None
    (word,) = struct.unpack_from(f"{order}I", flags)
    sizes = np.frombuffer(shape[: 4 * MAX_RANK], f"{order}i4").tolist()
    array_class, count = word & 0xFF, math.prod(sizes)
    if word & _COMPLEX or len(shape) > 4 * MAX_RANK or min(sizes, default=-1) < 0:
        raise ValueError(f"an array of class {array_class} and shape {sizes}")
    rest = list(elements)
    if array_class == _STRUCT:
        (_, length), (_, names), *rest = rest
        fields = _split(names, *struct.unpack(f"{order}i", length))
        count *= len(fields)
    if array_class in (_CELL, _STRUCT):
        if len(rest) != count or any(kind != _MATRIX for kind, _ in rest):
            raise ValueError(f"{len(rest)} elements in an array of {count}")
        values = [_array(element, order, depth + 1)[1] for _, element in rest]
        if array_class == _CELL:
            return name, values
        rows = (values[k : k + len(fields)] for k in range(0, count, len(fields)))
        return name, [dict(zip(fields, row, strict=True)) for row in rows]
    ((kind, content),) = rest
    if array_class == _CHAR and kind in _TEXTS:
        return name, content.decode(_TEXTS[kind].format("le" if order == "<" else "be"))
    if array_class in _NUMERIC and kind in _NUMBERS:
        return name, np.frombuffer(content, f"{order}{_NUMBERS[kind]}")
    raise ValueError(f"an array of class {array_class} with data of type {kind}")


def _split(names: bytes, length: int) -> list[str]:
    """Field names of a fixed length, filled with zeros."""
    parts = (names[k : k + length] for k in range(0, len(names), length))
    return [part.partition(b"\0")[0].decode() for part in parts]
