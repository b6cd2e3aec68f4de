"""HDF5 files, opened so that nothing outside of them is read."""

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from ..contract import Spec, message, refuse
from .tensorfile import open_checkpoint, readable

_CHUNK = 2**20
"""Bytes of a chunk that may be larger than its data set, as the chunks of h5py may be."""


@contextmanager
def open_hdf5(op: str, path: str) -> Iterator[Any]:
    """Open an HDF5 file whose data are in the file itself, and yield its root group.

    Raises: ValueError for a file that is damaged, or that has links, external storage, virtual data
        sets or chunks larger than their data; ImportError without h5py; OSError as `open`.
    """
    try:
        import h5py  # noqa: PLC0415 - needed for these files alone
    except ImportError as error:
        invariant = "h5py must be installed to read Keras' HDF5 files"
        remedy = "Install it: pip install 'bilinear[hdf5]'"
        raise ImportError(message(op, invariant, f"{error}", remedy)) from error
    with open_checkpoint(op, path) as opened:
        with reading(op):
            file = h5py.File(opened, "r")
        with file:
            with reading(op):
                foreign = _foreign(h5py, file)
            if foreign:
                remedy = "Save the model again, without links, virtual data sets or other files."
                refuse(ValueError, op, "the file must hold all its data itself", foreign, remedy)
            yield file


def reading(op: str) -> AbstractContextManager[None]:
    """Convert what h5py raises for a damaged file to a ValueError."""
    return readable(
        op, "the file must be a complete HDF5 file of Keras", "It is truncated, or of another kind."
    )


def hdf5_spec(dataset: Any) -> Spec:
    return Spec(dataset.shape, dataset.dtype.name)


def _foreign(h5py: Any, file: Any) -> str:
    """Describe the first item whose values are not stored at its place; "" if there is none."""
    found: list[str] = []

    def visit_link(name: bytes, link: Any) -> None:
        if link.type != h5py.h5l.TYPE_HARD:
            found.append(f"the link {name.decode(errors='replace')!r}")

    def visit_item(name: str, item: Any) -> None:
        if not isinstance(item, h5py.Dataset):
            return
        if item.external or item.is_virtual:
            found.append(f"{name!r} in another file")
        chunk = math.prod(item.chunks or ()) * item.dtype.itemsize
        if item.chunks and chunk > max(item.nbytes, _CHUNK):
            found.append(f"{name!r}, {item.nbytes:,} bytes in a chunk of {chunk:,}")

    file.id.links.visit(visit_link, info=True)
    file.visititems(visit_item)
    return found[0] if found else ""
