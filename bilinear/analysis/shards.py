"""Descriptors in several files, one for each of several processes, and read as one array.

A set of shards is a folder. Its ``index.json`` describes all shards, and each shard has the two
files of `write_descriptors`. The index depends only on the arguments, so every process writes the
same one, and no process waits for another. The names of the shards contain a checksum of the index:
a shard that was computed with other arguments is never read as one of the set.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from .._files import open_regular, write_text
from .._json import format_json, read_json
from .._npy import HEADER_BYTES, npy_header
from ..contract import refuse
from .descriptors import Rows, dtype_of, files_of, open_descriptors

INDEX = "index.json"
FORMAT = "bilinear-descriptor-shards"
_LISTED = 10
"""Missing shards that an error names."""


@dataclass(frozen=True)
class Index:
    """What all shards of a set have in common.

    Args:
        shards: number of shards.
        count: number of images in all shards together.
        size: length of a descriptor.
        sha256: checksum of the model file.
        reduction: checksum of the file of the reduction, or empty.
        images: checksum of the list of images; see `checksum_of_images`.
    """

    shards: int
    count: int
    size: int
    sha256: str
    reduction: str
    images: str

    def path(self, folder: Path, shard: int) -> Path:
        """The array of a shard, whose description is beside it."""
        name = hashlib.sha256(format_json(asdict(self)).encode()).hexdigest()[:12]
        return folder / f"{name}-{shard:05d}-of-{self.shards:05d}.npy"


def checksum_of_images(items: Sequence[Any], *options: object) -> str:
    """SHA-256 of a list of images (each printable as text) and of options that change all rows."""
    checksum = hashlib.sha256(f"{options}".encode())
    for item in items:
        checksum.update(f"{item}\n".encode("utf-8", "surrogateescape"))
    return checksum.hexdigest()


def shard_of(items: Sequence[Any], shard: int, shards: int) -> Sequence[Any]:
    """The items of one shard. Shards are contiguous: together they have the order of `items`."""
    return items[len(items) * shard // shards : len(items) * (shard + 1) // shards]


def write_index(folder: Path, index: Index) -> None:
    """Write the index of a set into a folder.

    Raises: ValueError if the folder has the index of another set, or if a shard would be empty;
        OSError.
    """
    if index.shards > index.count:
        requirement = f"each shard of {folder} must have an image"
        received = f"{index.count:,} images for {index.shards:,} shards"
        refuse(ValueError, "write_index", requirement, received, "Use fewer shards.")
    path = folder / INDEX
    if not path.exists():
        write_text(path, format_json({"format": FORMAT, **asdict(index)}, indent=2) + "\n")
    found, given = asdict(_read(folder)), asdict(index)
    if different := [name for name in given if found[name] != given[name]]:
        name = different[0]
        requirement = f"{folder} must be new, or have shards of the same images and model"
        received = f"an index with {name} {found[name]}, here {given[name]}"
        remedy = "Use the same arguments for each shard, or another folder."
        refuse(ValueError, "write_index", requirement, received, remedy)


class Collection:
    """The descriptors of one file, or of all shards of a folder, memory-mapped as one array.

    ``collection[start:stop]`` and ``collection[indices]`` with sorted indices copy rows.

    Args:
        source: a file that `write_descriptors` wrote, or a folder of shards.

    Raises: ValueError that names the missing shards of a folder; as `open_descriptors`.
    """

    def __init__(self, source: str | os.PathLike) -> None:
        self.source = Path(source)
        if self.source.is_dir():
            index = _read(self.source)
            self.files = _present(self.source, index)
            self.sha256, self.reduction, self._rows = index.sha256, index.reduction, {}
            self.arrays = [_map(file, index) for file in self.files]
        else:
            array, rows = open_descriptors(self.source)
            self.files, self.arrays = [self.source], [array]
            self.sha256, self.reduction, self._rows = rows.sha256, rows.reduction, {0: rows}
        self._starts = np.cumsum([0, *map(len, self.arrays)])
        self.shape = len(self), self.arrays[0].shape[1]
        self.dtype = self.arrays[0].dtype

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, chosen: slice | np.ndarray) -> np.ndarray:
        pairs = zip(self._starts[:-1], self.arrays, strict=True)
        if isinstance(chosen, slice):
            start, stop, _ = chosen.indices(len(self))
            parts = [a[max(start - first, 0) : max(stop - first, 0)] for first, a in pairs]
        else:
            bounds = pairwise(np.searchsorted(chosen, self._starts))
            parts = [
                a[chosen[low:high] - first]
                for (first, a), (low, high) in zip(pairs, bounds, strict=True)
            ]
        return np.concatenate(parts)

    def image(self, row: int) -> tuple[str, str | None]:
        """The path of the image of a row, and the name of its class, if it has one."""
        shard = int(np.searchsorted(self._starts, row, side="right")) - 1
        rows, number = self.rows(shard), int(row - self._starts[shard])
        label = rows.labels[number]
        return rows.paths[number], rows.classes[label] if label >= 0 else None

    def rows(self, shard: int) -> Rows:
        """The description of a shard. That of one shard is in memory at a time."""
        if shard not in self._rows:
            self._rows = {shard: open_descriptors(self.files[shard])[1]}
        return self._rows[shard]

    def checksum(self) -> str:
        """SHA-256 of the headers, which have the checksums of the rows."""
        found = hashlib.sha256()
        for path in self.files:
            with open_regular(path) as file:
                found.update(file.read(HEADER_BYTES))
        return found.hexdigest()


def _read(folder: Path) -> Index:
    """The index of a folder. Raises: ValueError that names it if it is damaged; OSError."""
    remedy = "Write the shards again, into a new folder."
    values = read_json("open_shards", folder / INDEX, remedy)
    kinds = Index.__annotations__
    if not (
        isinstance(values, dict)
        and values.pop("format", None) == FORMAT
        and values.keys() == kinds.keys()
        and all(type(values[name]) is kind for name, kind in kinds.items())
        and 1 <= values["shards"] <= values["count"]
        and values["size"] >= 1
    ):
        requirement = f"{folder / INDEX} must be written by bilinear descriptors --shard"
        refuse(ValueError, "open_shards", requirement, "other content", remedy)
    return Index(**values)


def _present(folder: Path, index: Index) -> list[Path]:
    """The array of each shard. Raises: ValueError that names the missing shards."""
    files = [index.path(folder, shard) for shard in range(index.shards)]
    missing = [
        shard
        for shard, file in enumerate(files)
        if not all(part.exists() for part in files_of(file))
    ]
    if missing:
        named = ", ".join(f"{shard}/{index.shards}" for shard in missing[:_LISTED])
        more = len(missing) - _LISTED
        received = f"{named} missing" + (f", and {more:,} others" if more > 0 else "")
        requirement = f"{folder} must have all of its {index.shards:,} shards"
        remedy = f"Run bilinear descriptors with --shard {missing[0]}/{index.shards} and so on."
        refuse(ValueError, "open_shards", requirement, received, remedy)
    return files


def _map(path: Path, index: Index) -> np.ndarray:
    """Memory-map a shard by its header. Raises: ValueError that names it if it is damaged."""
    dtype = dtype_of(index.reduction)
    with open_regular(path) as file:
        header, size = file.read(HEADER_BYTES), os.fstat(file.fileno()).st_size - HEADER_BYTES
        count, rest = divmod(size, dtype.itemsize * index.size)
        checksum = header.rstrip()[-64:].decode("ascii", "replace")
        if rest or count < 1 or header != npy_header((count, index.size), dtype, checksum):
            requirement = (
                f"{path} must be a shard of {dtype.name} descriptors of {index.size} values"
            )
            remedy = "Delete it, and write this shard again."
            refuse(ValueError, "open_shards", requirement, f"a file of {size} bytes", remedy)
        return np.memmap(file, dtype, "r", HEADER_BYTES, (count, index.size))
