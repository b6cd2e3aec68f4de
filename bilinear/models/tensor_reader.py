"""Reading of safetensors files from one open file, with every check of the header.

The file is read, not mapped: a mapped file that another process rewrites in place ends its readers
by SIGBUS, while here the change is an error. Of safetensors' own functions, `safe_open` maps the
file, and `deserialize` copies all tensors at once and does not return the metadata.
"""

import json
import math
import os
import re
from collections.abc import Iterable
from typing import Any, BinaryIO, NamedTuple, NoReturn

import ml_dtypes
import numpy as np

from ..contract import Spec, refuse

LONGEST_HEADER = 2**24
"""In bytes; the header of a model with 1000 tensors has about 100 kB."""

_DTYPES = {
    "BOOL": np.dtype(np.bool_),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "C64": np.dtype(np.complex64),
    **{f"F{bits}": np.dtype(f"float{bits}") for bits in (16, 32, 64)},
    **{f"I{bits}": np.dtype(f"int{bits}") for bits in (8, 16, 32, 64)},
    **{f"U{bits}": np.dtype(f"uint{bits}") for bits in (8, 16, 32, 64)},
}
"""The dtypes that NumPy has; files may have others, such as F8_E4M3 and F4."""


class _Entry(NamedTuple):
    spec: Spec
    start: int
    """The first byte, counted from the start of the data."""
    stop: int


class TensorReader:
    """The tensors of an open safetensors file; each is read from the file on request.

    Args:
        op: beginning of error messages, which names the file.
        file: a regular file, open for reading.

    Raises: ValueError for a file that is truncated, damaged or of another kind.
    """

    def __init__(self, op: str, file: BinaryIO) -> None:
        self._op, self._file = op, file
        self._state = _state(file)
        size = self._state[0]
        start = file.read(8)
        length = int.from_bytes(start, "little")
        if len(start) < 8 or length > size - 8:
            self._refuse(f"{size} bytes, of which {length} are the header")
        if length > LONGEST_HEADER:
            self._refuse(f"a header of {length:,} bytes; at most {LONGEST_HEADER:,} are read")
        try:
            header = json.loads(file.read(length), object_pairs_hook=_unique)
            self._metadata = _metadata(header)
            self._entries = {name: _entry(name, value) for name, value in header.items()}
            _check_places(self._entries.values(), size - 8 - length)
        except (ValueError, RecursionError) as error:
            self._refuse(f"{error}")
        self._data = 8 + length

    def keys(self) -> list[str]:
        """The names of the tensors, in the order of the header."""
        return list(self._entries)

    def metadata(self) -> dict[str, str]:
        return self._metadata

    def specs(self) -> dict[str, Spec]:
        """Name -> shape and dtype, by NumPy's name where NumPy has the dtype."""
        return {name: entry.spec for name, entry in self._entries.items()}

    def get_tensor(self, name: str) -> np.ndarray:
        """Read one tensor. Raises: ValueError if NumPy does not have its dtype."""
        spec, start, stop = self._entries[name]
        dtype = next((d for d in _DTYPES.values() if d.name == spec.dtype), None)
        if dtype is None:
            invariant = f"tensor {name!r} must have a dtype that NumPy has"
            refuse(ValueError, self._op, invariant, spec.dtype, "Cast it before saving.")
        array = np.empty(spec.shape or (), dtype)
        self._file.seek(self._data + start)
        rest = array.reshape(-1).view(np.uint8).data
        while rest:
            count = self._file.readinto(rest)  # pyright: ignore[reportAttributeAccessIssue]
            if not count:
                self.check_unchanged()
                self._refuse(f"{stop - start - len(rest)} bytes of tensor {name!r}")
            rest = rest[count:]
        return array

    def check_unchanged(self) -> None:
        """Raise ValueError if the file was rewritten in place since it was opened."""
        if _state(self._file) != self._state:
            invariant = "the file must stay unchanged while it is read"
            remedy = "Read it again, and replace model files instead of rewriting them in place."
            refuse(ValueError, self._op, invariant, "another size or time", remedy)

    def _refuse(self, received: str) -> NoReturn:
        invariant = "the file must be a complete safetensors file"
        remedy = "It is truncated, or of another kind."
        refuse(ValueError, self._op, invariant, received, remedy)


def _state(file: BinaryIO) -> tuple[int, int]:
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("two entries of one name in the header")
    return found


def _metadata(header: Any) -> dict[str, str]:
    """Take the metadata out of the header."""
    if not isinstance(header, dict):
        raise ValueError("a header that is not a JSON object")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise ValueError("metadata that are not texts")
    return metadata


def _entry(name: str, value: Any) -> _Entry:
    if not isinstance(value, dict) or value.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"an entry {name!r} without dtype, shape and data_offsets")
    dtype, shape, places = value["dtype"], value["shape"], value["data_offsets"]
    counts = isinstance(shape, list) and all(map(_is_count, shape))
    if not isinstance(dtype, str) or not re.fullmatch(r"\w{1,20}", dtype) or not counts:
        raise ValueError(f"an invalid dtype or shape of {name!r}")
    if not (isinstance(places, list) and len(places) == 2 and all(map(_is_count, places))):
        raise ValueError(f"invalid data_offsets of {name!r}")
    start, stop = places
    known = _DTYPES.get(dtype)
    if known is not None and stop - start != math.prod(shape) * known.itemsize:
        raise ValueError(f"{stop - start} bytes for {name!r}, {dtype} of shape {shape}")
    return _Entry(Spec(tuple(shape), known.name if known else dtype), start, stop)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _check_places(entries: Iterable[_Entry], size: int) -> None:
    """Raise ValueError unless the tensors fill the data, one after the other."""
    end = 0
    for start, stop in sorted((entry.start, entry.stop) for entry in entries):
        if start != end or stop < start:
            raise ValueError(f"tensors that overlap or leave a gap at byte {end} of the data")
        end = stop
    if end != size:
        raise ValueError(f"{size} bytes of data in place of {end}")
