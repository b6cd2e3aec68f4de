"""Descriptors of many images in one file, written batch by batch and memory-mapped for search.

The file is ``.npy`` or ``.safetensors`` with a (N, D) array: float32, or float16 for descriptors
that `bilinear.analysis.reduction` reduced. A JSON file with the same name plus ``.json`` has the
paths, labels, classes and the model of the rows. Both files have the checksum of the rows, by which
files that do not belong together are recognized.
"""

import functools
import hashlib
import json
import math
import os
import shutil
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np

from .._files import name_in_errors, open_regular, read_regular, replace_file, write_all
from .._json import format_json, parse_json
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
    `labels` are -1 and `classes` is empty. `reduction` is the checksum of the reduction's file, and
    empty for the descriptors of the model itself.
    """

    model: str
    sha256: str
    classes: Sequence[str]
    paths: Sequence[str]
    labels: Sequence[int]
    reduction: str = ""


def dtype_of(reduction: str) -> np.dtype:
    """The dtype of rows: float16 if they are reduced (`Rows.reduction`), else float32."""
    return np.dtype("<f2" if reduction else "<f4")


class Writer:
    """Appends rows to a file of descriptors; see `write_descriptors`."""

    def __init__(self, path: Path, file: BinaryIO, size: int, dtype: np.dtype) -> None:
        self._path, self._file, self._size, self._dtype = path, file, size, dtype
        self._checksum = hashlib.sha256()
        self.paths: list[str] = []
        self.labels: list[int] = []

    def append(self, descriptors: np.ndarray, paths: Sequence[str], labels: Sequence[int]) -> None:
        """Append a batch of rows. Raises: ValueError if the shapes do not match."""
        if descriptors.shape != (len(paths), self._size) or len(labels) != len(paths):
            received = f"descriptors {descriptors.shape}, {len(paths)} paths, {len(labels)} labels"
            invariant = f"each image must have {self._size} values, a path and a label"
            remedy = "Pass arrays and lists of the same length."
            refuse(ValueError, "write_descriptors", invariant, received, remedy)
        data = np.ascontiguousarray(descriptors, self._dtype).tobytes()
        self._checksum.update(data)
        self.write(data)
        self.paths += paths
        self.labels += map(int, labels)

    def write(self, data: bytes) -> None:
        """Write bytes at the current position. Raises: OSError that names the file."""
        with name_in_errors(self._path):
            write_all(self._file, data)

    @property
    def checksum(self) -> str:
        """SHA-256 of all rows so far."""
        return self._checksum.hexdigest()


@contextmanager
def write_descriptors(
    path: str | os.PathLike,
    size: int,
    *,
    model: str,
    sha256: str,
    classes: Sequence[str] = (),
    reduction: str = "",
) -> Iterator[Writer]:
    """Write a file of descriptors and its JSON file; yield a `Writer` that appends rows.

    Both files are replaced atomically, the JSON file last. If writing fails, nothing is written.
    If two programs write the same files at once, the result is one of the two pairs, or a pair that
    `open_descriptors` refuses. One batch is in memory at a time.

    Args:
        path: output file, ending in one of `SUFFIXES`.
        size: length of a descriptor.
        model, sha256, classes, reduction: as in `Rows`.

    Raises: ValueError for another suffix or if no row was written; OSError if the file cannot be
        written.
    """
    path, dtype = Path(path), dtype_of(reduction)
    header = _header(path, dtype)
    with (
        replace_file(_json_path(path)) as json_file,  # replaced last
        replace_file(path) as temporary,
    ):
        with open(temporary, "wb", buffering=0) as file:
            writer = Writer(path, file, size, dtype)
            writer.write(header(0, size, ""))
            yield writer
            if not writer.paths:
                remedy = "No image could be read, so nothing was written."
                invariant = f"{path} must have at least one row"
                refuse(ValueError, "write_descriptors", invariant, "none", remedy)
            file.seek(0)
            writer.write(header(len(writer.paths), size, writer.checksum))
        rows = Rows(model, sha256, list(classes), writer.paths, writer.labels, reduction)
        text = format_json({"format": FORMAT, "checksum": writer.checksum, **asdict(rows)})
        with name_in_errors(_json_path(path)):
            Path(json_file).write_text(text, encoding="utf-8")
        with suppress(FileNotFoundError):  # no new descriptors with an old JSON file
            _json_path(path).unlink()


def check_disk_space(
    path: str | os.PathLike, count: int, size: int, dtype: str = "float32"
) -> tuple[int, int]:
    """Return the bytes that `count` descriptors need and the bytes free on the disk of `path`.

    Raises: ValueError for a suffix not in `SUFFIXES`; OSError if the disk has too little space.
    """
    path = Path(path)
    _header(path, np.dtype(dtype))
    needed = np.dtype(dtype).itemsize * count * size + 2 * _HEADER
    free = shutil.disk_usage(path.absolute().parent).free
    if needed > free:
        invariant = f"{path} needs {needed / 2**30:,.1f} GiB on the disk"
        remedy = "Use another disk, or a pool with smaller descriptors."
        refuse(OSError, "write_descriptors", invariant, f"{free / 2**30:,.1f} GiB free", remedy)
    return needed, free


def open_descriptors(path: str | os.PathLike) -> tuple[np.ndarray, Rows]:
    """Open a file of descriptors.

    Returns: the descriptors, a memory-mapped (N, D) array, float32 or for reduced ones float16, and
        the description of its rows. The array must not be read while another program writes into
        the same file.
    Raises: ValueError that names the file if `write_descriptors` did not write it, or if the two
        files do not belong together; OSError if one cannot be opened.
    """
    path = Path(path)
    _header(path, dtype_of(""))  # refuses another suffix first
    text = read_regular(_json_path(path))
    try:
        values = parse_json(text)
        kind, checksum = values.pop("format"), values.pop("checksum")
        rows = Rows(**values)
        valid = kind == FORMAT and isinstance(checksum, str) and _are_valid(rows)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        _refuse(path, f"{_json_path(path)}: {error!r}"[:200])
    count = len(rows.paths) if valid else 0
    dtype = dtype_of(rows.reduction)
    header = _header(path, dtype)
    with open_regular(path) as file:
        bytes_of_rows = os.fstat(file.fileno()).st_size - _HEADER
        size, rest = divmod(bytes_of_rows, dtype.itemsize * max(count, 1))
        if not valid or rest or size < 1 or file.read(_HEADER) != header(count, size, checksum):
            _refuse(path, f"{bytes_of_rows} bytes for {count} images")
        return np.memmap(file, dtype, "r", _HEADER, (count, size)), rows


def nearest(descriptors: Any, query: np.ndarray, k: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Find the k rows with the largest cosine similarity to `query`.

    ``s_n = ⟨d_n, q⟩ / (‖d_n‖ ‖q‖)``, and 0 if a norm is 0. Ties are in the order of the rows.

    Args:
        descriptors: (N, D) array, or a `bilinear.analysis.shards.Collection`.
        query: (D,) array.
        k: number of rows, at least 1, default 5.

    Returns: row indices (min(k, N),) int64 and similarities float32, most similar first.
    Cost: one pass over the rows, which are in float32 in memory 64 MiB at a time.
    Raises: ValueError if the lengths differ, or for a vector whose norm is not finite.
    """
    if query.shape != descriptors.shape[1:]:
        received = f"descriptors {descriptors.shape} and a query {query.shape}"
        remedy = "Use the model that computed the descriptors."
        refuse(ValueError, "nearest", "lengths must be equal", received, remedy)
    query = unit(np.asarray(query, np.float32))
    rows, similarity = np.zeros(0, np.int64), np.zeros(0, np.float32)
    for start, block in blocks(descriptors):
        rows = np.concatenate([rows, np.arange(start, start + len(block))])
        similarity = np.concatenate([similarity, block @ query])
        best = np.argsort(-similarity, kind="stable")[:k]
        rows, similarity = rows[best], similarity[best]
    return rows, similarity


def blocks(descriptors: Any) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the index of the first row of each block, and its rows in float32 with norm 1."""
    step = max(1, _PIECE // max(descriptors.shape[1], 1))
    for start in range(0, len(descriptors), step):
        yield start, unit(np.asarray(descriptors[start : start + step], np.float32))


def unit(rows: np.ndarray) -> np.ndarray:
    """Divide rows by their norms; rows of 0 stay 0. Raises: ValueError for a norm not finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        norms = np.linalg.norm(rows, axis=-1, keepdims=True)
    if not np.isfinite(norms).all():
        remedy = "Write the descriptors again, with a model whose results are finite."
        refuse(ValueError, "nearest", "norms must be finite", "NaN or infinity", remedy)
    return np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0)


def files_of(path: str | os.PathLike) -> tuple[Path, Path]:
    """The two files of descriptors: the array, and the JSON file that describes its rows."""
    return Path(path), _json_path(Path(path))


def _json_path(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def _are_valid(rows: Rows) -> bool:
    """Whether the values of a JSON file have the types and ranges of `write_descriptors`."""
    lists = rows.classes, rows.paths, rows.labels
    if not all(isinstance(values, list) for values in lists) or len(rows.paths) != len(rows.labels):
        return False
    texts = all(
        isinstance(x, str)
        for x in (rows.model, rows.sha256, rows.reduction, *rows.classes, *rows.paths)
    )
    return texts and all(type(x) is int and -1 <= x < len(rows.classes) for x in rows.labels)


def _header(path: Path, dtype: np.dtype) -> Callable[[int, int, str], bytes]:
    """Return the function (rows, size, checksum of the rows) -> header of `_HEADER` bytes."""
    headers: dict[str, Callable[[int, int, str], bytes]] = {
        ".npy": lambda count, size, checksum: npy_header((count, size), dtype, checksum),
        ".safetensors": functools.partial(_safetensors, dtype),
    }
    if path.suffix not in headers:
        invariant = f"a file of descriptors must end in {' or '.join(SUFFIXES)}"
        refuse(ValueError, "write_descriptors", invariant, f"{path}", "Rename it.")
    return headers[path.suffix]


def _safetensors(dtype: np.dtype, count: int, size: int, checksum: str) -> bytes:
    shape, code = [count, size], f"F{8 * dtype.itemsize}"
    end = dtype.itemsize * math.prod(shape)
    tensor = {"dtype": code, "shape": shape, "data_offsets": [0, end]}
    content = {"__metadata__": {"sha256": checksum}, "descriptors": tensor}
    text = json.dumps(content).encode().ljust(_HEADER - 8)
    return struct.pack("<Q", len(text)) + text


def _refuse(path: Path, received: str) -> NoReturn:
    remedy = "The files are damaged or do not belong together; write the descriptors again."
    invariant = f"{path} and {_json_path(path).name} must be written by bilinear descriptors"
    refuse(ValueError, "open_descriptors", invariant, received, remedy)
