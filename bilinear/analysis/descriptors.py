"""Descriptors of many images in one file, written batch by batch and memory-mapped for search.

The file is ``.npy`` or ``.safetensors`` with a (N, D) float32 array. A JSON file with the same
name plus ``.json`` has the paths, labels, classes and the model of the rows.
"""

import json
import math
import os
import shutil
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, NoReturn

import numpy as np

from .._files import replace_file
from .._npy import HEADER_BYTES as _HEADER
from .._npy import npy_header
from ..contract import refuse

SUFFIXES = (".npy", ".safetensors")
FORMAT = "bilinear-features"
_PIECE = 2**24
"""Values that a search reads at once: 64 MiB."""


@dataclass(frozen=True)
class Rows:
    """Description of the rows of a file.

    `model` is the name of the model file and `sha256` its checksum. For images without labels,
    `labels` are -1 and `classes` is empty.
    """

    model: str
    sha256: str
    classes: Sequence[str]
    paths: Sequence[str]
    labels: Sequence[int]


class Writer:
    """Appends rows to a file of descriptors; see `write_descriptors`."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file, self._size = file, size
        self.paths: list[str] = []
        self.labels: list[int] = []

    def append(self, descriptors: np.ndarray, paths: Sequence[str], labels: Sequence[int]) -> None:
        """Append a batch of rows. Raises: ValueError if the shapes do not match."""
        if descriptors.shape != (len(paths), self._size) or len(labels) != len(paths):
            received = f"descriptors {descriptors.shape}, {len(paths)} paths, {len(labels)} labels"
            invariant = f"each image must have {self._size} values, a path and a label"
            remedy = "Pass arrays and lists of the same length."
            refuse(ValueError, "write_descriptors", invariant, received, remedy)
        self._file.write(np.ascontiguousarray(descriptors, "<f4").tobytes())
        self.paths += paths
        self.labels += map(int, labels)


@contextmanager
def write_descriptors(
    path: str | os.PathLike, size: int, *, model: str, sha256: str, classes: Sequence[str] = ()
) -> Iterator[Writer]:
    """Write a file of descriptors and its JSON file; yield a `Writer` that appends rows.

    Both files are replaced atomically, the JSON file last. If writing fails, nothing is written.
    One batch is in memory at a time.

    Args:
        path: output file, ending in one of `SUFFIXES`.
        size: length of a descriptor.
        model, sha256, classes: as in `Rows`.

    Raises: ValueError for another suffix or if no row was written; OSError if the file cannot be
        written.
    """
    path = Path(path)
    header = _header(path)
    with (
        replace_file(_json_path(path)) as json_file,  # replaced last
        replace_file(path) as temporary,
    ):
        with open(temporary, "wb") as file:
            file.write(header(0, size))
            writer = Writer(file, size)
            yield writer
            if not writer.paths:
                remedy = "No image could be read, so nothing was written."
                invariant = f"{path} must have at least one row"
                refuse(ValueError, "write_descriptors", invariant, "none", remedy)
            file.seek(0)
            file.write(header(len(writer.paths), size))
        rows = Rows(model, sha256, list(classes), writer.paths, writer.labels)
        text = json.dumps({"format": FORMAT, **asdict(rows)})
        Path(json_file).write_text(text, encoding="utf-8")
        with suppress(FileNotFoundError):  # no new descriptors with an old JSON file
            _json_path(path).unlink()


def check_disk_space(path: str | os.PathLike, count: int, size: int) -> tuple[int, int]:
    """Return the bytes that `count` descriptors need and the bytes free on the disk of `path`.

    Raises: ValueError for a suffix not in `SUFFIXES`; OSError if the disk has too little space.
    """
    path = Path(path)
    _header(path)
    needed = 4 * count * size + 2 * _HEADER
    free = shutil.disk_usage(path.absolute().parent).free
    if needed > free:
        invariant = f"{path} needs {needed / 2**30:,.1f} GiB on the disk"
        remedy = "Use another disk, or a pool with smaller descriptors."
        refuse(OSError, "write_descriptors", invariant, f"{free / 2**30:,.1f} GiB free", remedy)
    return needed, free


def open_descriptors(path: str | os.PathLike) -> tuple[np.ndarray, Rows]:
    """Open a file of descriptors.

    Returns: the descriptors, a memory-mapped (N, D) float32 array, and the description of its rows.
    Raises: ValueError that names the file if `write_descriptors` did not write it; OSError if it
        cannot be opened.
    """
    path = Path(path)
    header = _header(path)
    try:
        values = json.loads(_json_path(path).read_text(encoding="utf-8"))
        kind = values.pop("format")
        rows = Rows(**values)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        _refuse(path, f"{_json_path(path)}: {error!r}")
    bytes_of_rows = os.path.getsize(path) - _HEADER
    count = len(rows.paths)
    size, rest = divmod(bytes_of_rows, 4 * max(count, 1))
    with open(path, "rb") as file:
        complete = file.read(_HEADER) == header(count, size)
    if kind != FORMAT or len(rows.labels) != count or rest or not complete or not count:
        _refuse(path, f"{bytes_of_rows} bytes for {count} images")
    return np.memmap(path, "<f4", "r", _HEADER, (count, size)), rows


def nearest(
    descriptors: np.ndarray, query: np.ndarray, k: int = 5
) -> tuple[np.ndarray, np.ndarray]:
    """Find the k rows with the largest cosine similarity to `query`.

    ``s_n = ⟨d_n, q⟩ / (‖d_n‖ ‖q‖)``, and 0 if a norm is 0. Ties are in the order of the rows.

    Args:
        descriptors: (N, D) array.
        query: (D,) array.
        k: number of rows, at least 1, default 5.

    Returns: row indices (min(k, N),) int64 and similarities float32, most similar first.
    Cost: one pass over the rows, 64 MiB in memory at a time.
    Raises: ValueError if the lengths differ.
    """
    if query.shape != descriptors.shape[1:]:
        received = f"descriptors {descriptors.shape} and a query {query.shape}"
        remedy = "Use the model that computed the descriptors."
        refuse(ValueError, "nearest", "lengths must be equal", received, remedy)
    query = _unit(np.asarray(query, np.float32))
    step = max(1, _PIECE // max(len(query), 1))
    pieces = (descriptors[start : start + step] for start in range(0, len(descriptors), step))
    found = [_unit(np.asarray(piece)) @ query for piece in pieces]
    similarity = np.concatenate([np.zeros(0, np.float32), *found])
    order = np.argsort(-similarity, kind="stable")[:k]
    return order, similarity[order]


def _unit(rows: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0)


def files_of(path: str | os.PathLike) -> tuple[Path, Path]:
    """The two files of descriptors: the array, and the JSON file that describes its rows."""
    return Path(path), _json_path(Path(path))


def _json_path(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def _header(path: Path) -> Callable[[int, int], bytes]:
    """Return the function (rows, size) -> header of `_HEADER` bytes."""
    headers: dict[str, Callable[[int, int], bytes]] = {
        ".npy": lambda count, size: npy_header((count, size), np.dtype("<f4")),
        ".safetensors": _safetensors,
    }
    if path.suffix not in headers:
        invariant = f"a file of descriptors must end in {' or '.join(SUFFIXES)}"
        refuse(ValueError, "write_descriptors", invariant, f"{path}", "Rename it.")
    return headers[path.suffix]


def _safetensors(count: int, size: int) -> bytes:
    shape = [count, size]
    tensor = {"dtype": "F32", "shape": shape, "data_offsets": [0, 4 * math.prod(shape)]}
    text = json.dumps({"descriptors": tensor}).encode().ljust(_HEADER - 8)
    return struct.pack("<Q", len(text)) + text


def _refuse(path: Path, received: str) -> NoReturn:
    remedy = "The files are damaged or do not belong together; write the descriptors again."
    invariant = f"{path} and {_json_path(path).name} must be written by bilinear descriptors"
    refuse(ValueError, "open_descriptors", invariant, received, remedy)
