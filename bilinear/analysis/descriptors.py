"""Descriptors of many images in one file, written in pieces and searched without reading it whole.

The file is ``.npy`` or ``.safetensors``, (N, D) float32; what its rows are (paths, labels, classes,
the model) is in a JSON file of the same name with ``.json`` behind it.
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

from .._files import replacing
from ..contract import refuse

SUFFIXES = (".npy", ".safetensors")
FORMAT = "bilinear-features"
_HEADER = 256
"""Bytes of either header, so that the number of rows can be corrected when it is known."""
_PIECE = 2**24
"""Numbers that a search reads at once: 64 MiB."""


@dataclass(frozen=True)
class Rows:
    """What the rows of a file are. `labels` are -1 where images have none, `classes` then empty.

    `model` is the file whose descriptors they are, `sha256` that of its content.
    """

    model: str
    sha256: str
    classes: Sequence[str]
    paths: Sequence[str]
    labels: Sequence[int]


class Writer:
    """Rows for a file of `features_file`, appended batch by batch."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file, self._size = file, size
        self.paths: list[str] = []
        self.labels: list[int] = []

    def append(self, descriptors: np.ndarray, paths: Sequence[str], labels: Sequence[int]) -> None:
        """Some rows. Raises: ValueError for shapes that do not fit."""
        if descriptors.shape != (len(paths), self._size) or len(labels) != len(paths):
            received = f"descriptors {descriptors.shape}, {len(paths)} paths, {len(labels)} labels"
            invariant = f"each row must have {self._size} numbers, a path and a label"
            refuse(ValueError, "features", invariant, received, "Give each image its row.")
        self._file.write(np.ascontiguousarray(descriptors, "<f4").tobytes())
        self.paths += paths
        self.labels += map(int, labels)


@contextmanager
def features_file(
    path: str | os.PathLike, size: int, *, model: str, sha256: str, classes: Sequence[str] = ()
) -> Iterator[Writer]:
    """Write a file of descriptors of length `size` by ``append``, and its JSON.

    Args:
        model, sha256, classes: as in `Rows`.

    Each appears whole or not at all; between the two there is no list, and `open_features` says so.
    Memory: one batch.
    Raises: ValueError for a name that ends in neither of `SUFFIXES`, or for no row at all; OSError
        where it cannot be written.
    """
    path = Path(path)
    header = _header(path)
    with replacing(_beside(path)) as listed, replacing(path) as temporary:  # the list comes last
        with open(temporary, "wb") as file:
            file.write(header(0, size))
            writer = Writer(file, size)
            yield writer
            if not writer.paths:
                remedy = "Mend the images; nothing was written."
                refuse(ValueError, "features", f"{path} must hold an image", "none", remedy)
            file.seek(0)
            file.write(header(len(writer.paths), size))
        rows = Rows(model, sha256, list(classes), writer.paths, writer.labels)
        text = json.dumps({"format": FORMAT, **asdict(rows)})
        Path(listed).write_text(text, encoding="utf-8")
        with suppress(FileNotFoundError):  # never new descriptors beside an old list
            _beside(path).unlink()


def check_room(path: str | os.PathLike, count: int, size: int) -> tuple[int, int]:
    """The bytes that `count` descriptors take, and those free where `path` is to be.

    Raises: ValueError for another suffix than those of `SUFFIXES`; OSError where they do not fit.
    """
    path = Path(path)
    _header(path)
    needed = 4 * count * size + 2 * _HEADER
    free = shutil.disk_usage(path.absolute().parent).free
    if needed > free:
        invariant = f"{path} needs {needed / 2**30:,.1f} GiB on the disk"
        remedy = "Write it elsewhere, or use a pool of smaller descriptors."
        refuse(OSError, "features", invariant, f"{free / 2**30:,.1f} GiB", remedy)
    return needed, free


def open_features(path: str | os.PathLike) -> tuple[np.ndarray, Rows]:
    """The descriptors of a file, (N, D), mapped into memory, not read; and what its rows are.

    Raises: ValueError naming the file for one that is not what `features_file` writes; OSError
        where it cannot be opened.
    """
    path = Path(path)
    header = _header(path)
    try:
        listed = json.loads(_beside(path).read_text(encoding="utf-8"))
        kind = listed.pop("format")
        rows = Rows(**listed)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        _refuse(path, f"{_beside(path)} that is not: {error!r}")
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
    """The k rows that are most similar to `query`, most similar first, and the similarities.

    ``s_n = ⟨d_n, q⟩ / (‖d_n‖ ‖q‖)``, 0 where a norm is 0; of equal ones the first comes first.

    Shapes: (N, D), (D,) -> (min(k, N),) int64 and float32.
    Cost: one pass over the rows, 64 MiB of them in memory at a time.
    Raises: ValueError for a query of another length.
    """
    if query.shape != descriptors.shape[1:]:
        received = f"descriptors {descriptors.shape} and a query {query.shape}"
        remedy = "Use the model that the descriptors are of."
        refuse(ValueError, "nearest", "descriptors must have one length", received, remedy)
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


def _beside(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def _header(path: Path) -> Callable[[int, int], bytes]:
    """What makes the first bytes of a file: (rows, size) -> `_HEADER` bytes."""
    headers = {".npy": _npy, ".safetensors": _safetensors}
    if path.suffix not in headers:
        invariant = f"a file of descriptors must end in {' or '.join(SUFFIXES)}"
        refuse(ValueError, "features", invariant, f"{path}", "Rename it.")
    return headers[path.suffix]


def _npy(count: int, size: int) -> bytes:
    fields = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({count}, {size}), }}"
    start = b"\x93NUMPY\x01\x00" + struct.pack("<H", _HEADER - 10)
    return start + fields.encode().ljust(_HEADER - 11) + b"\n"


def _safetensors(count: int, size: int) -> bytes:
    shape = [count, size]
    tensor = {"dtype": "F32", "shape": shape, "data_offsets": [0, 4 * math.prod(shape)]}
    text = json.dumps({"descriptors": tensor}).encode().ljust(_HEADER - 8)
    return struct.pack("<Q", len(text)) + text


def _refuse(path: Path, received: str) -> NoReturn:
    remedy = "It is damaged or was not written by features; write it again."
    invariant = f"{path} must hold descriptors, and {_beside(path).name} what they are"
    refuse(ValueError, "features", invariant, received, remedy)
