"""``python -m bilinear.models.hdf5_copy TARGET < SOURCE``: a process that copies an HDF5 file.

The HDF5 library can crash on a damaged file, and can read other files that a file refers to. Here
this ends a separate process, and its memory is limited by the size of the file; what it copies is
safe to read. The last line on stderr is the error.
"""

import math
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import h5py

_ATTRIBUTES = ("name", "weight_names", "dtype")
"""What files of Keras say about their groups and data sets."""
_CHUNK = 2**20
"""Bytes of a chunk that may be larger than its data set, as the chunks of h5py may be."""
_MEMORY = 2**28
"""Bytes that the process may allocate beside the values of the file."""
_HARD_LINK = 0
"""H5L_TYPE_HARD of the HDF5 library."""


def _copy(source: h5py.File, target: h5py.File) -> None:
    def visit_link(name: bytes, link: Any) -> str | None:  # a result ends the visit
        if link.type == _HARD_LINK:
            return None
        return f"the link {name.decode(errors='replace')!r}"

    def visit_item(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            written = target.create_dataset(name, data=item[()])
        else:
            written = target.require_group(name)
        written.attrs.update({key: item.attrs[key] for key in _ATTRIBUTES if key in item.attrs})

    if found := source.id.links.visit(visit_link, info=True):
        _refuse(found)
    _check_datasets(source)
    source.visititems(visit_item)


def _check_datasets(source: h5py.File) -> None:
    """End the process for values that are not in the file, before any is read."""
    total, size = 0, os.fstat(sys.stdin.fileno()).st_size

    def visit(name: str, item: Any) -> None:
        nonlocal total
        if not isinstance(item, h5py.Dataset):
            return
        if item.external or item.is_virtual:
            _refuse(f"{name!r} in another file")
        chunk = math.prod(item.chunks or (0,)) * item.dtype.itemsize
        if chunk > max(item.nbytes, _CHUNK):
            _refuse(f"{name!r}, {item.nbytes:,} bytes in a chunk of {chunk:,}")
        total += item.nbytes
        if total > size:
            _refuse(f"{name!r} of shape {item.shape} in a file of {size:,} bytes")

    source.visititems(visit)


def _refuse(received: str) -> NoReturn:
    sys.exit(received)


def _limit_memory() -> None:
    """Let the process allocate twice the size of the file, and `_MEMORY`; on Linux alone."""
    with suppress(ImportError, OSError, ValueError):
        import resource  # noqa: PLC0415 - Windows does not have it

        pages = int(Path("/proc/self/statm").read_bytes().split()[0])
        used = pages * resource.getpagesize()
        limit = used + 2 * os.fstat(sys.stdin.fileno()).st_size + _MEMORY
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


if __name__ == "__main__":
    _limit_memory()
    with h5py.File(sys.stdin.buffer, "r") as given, h5py.File(sys.argv[1], "w") as copy:
        _copy(given, copy)
