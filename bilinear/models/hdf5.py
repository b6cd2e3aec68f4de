"""HDF5 files, read through a copy that a separate process makes (`hdf5_copy`)."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from tempfile import TemporaryDirectory
from typing import Any

from ..contract import Spec, message, refuse
from .tensorfile import open_checkpoint, readable

_WHOLE = "the file must be a complete HDF5 file of Keras that holds all its data itself"
_REMEDY = "It is truncated, of another kind, compressed, or refers to other files."


@contextmanager
def open_hdf5(op: str, path: str) -> Iterator[Any]:
    """Open a copy of the data sets of an HDF5 file, and yield its root group.

    Raises: ValueError for a file that is damaged, has links or virtual data sets, or whose values
        are compressed or in another file; ImportError without h5py; OSError as `open_regular`.
    """
    try:
        import h5py  # noqa: PLC0415 - needed for these files alone
    except ImportError as error:
        invariant = "h5py must be installed to read Keras' HDF5 files"
        remedy = "Install it: pip install 'bilinear[hdf5]'"
        raise ImportError(message(op, invariant, f"{error}", remedy)) from error
    with open_checkpoint(op, path) as opened, TemporaryDirectory() as folder:
        copy = os.path.join(folder, "copy.weights.h5")  # the suffix that Keras needs
        command = [sys.executable, "-P", "-m", f"{__package__}.hdf5_copy", copy]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(
            command, stdin=opened, capture_output=True, env=environment, check=False
        )
        if done.returncode:
            refuse(ValueError, op, _WHOLE, _cause(done), _REMEDY)
        with h5py.File(copy, "r") as file:
            yield file


def _cause(done: subprocess.CompletedProcess[bytes]) -> str:
    """The last line that the process printed, or the signal that ended it."""
    if done.returncode < 0:
        return f"{signal.Signals(-done.returncode).name} in the HDF5 library"
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"exit code {done.returncode}"


def reading(op: str) -> AbstractContextManager[None]:
    """Convert errors for a file whose groups are not those of Keras to a ValueError."""
    return readable(op, _WHOLE, _REMEDY)


def hdf5_spec(dataset: Any) -> Spec:
    return Spec(dataset.shape, dataset.dtype.name)
