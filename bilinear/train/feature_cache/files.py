"""Feature maps on disk: one folder for each set, which appears complete or not at all.

::

    3f5c…/map-0.npy   the first feature map of every image, one after the other
    3f5c…/maps.json   their shapes, and a CRC-32 checksum of each row

The name of a folder is the hash of everything its content depends on. Rows are memory-mapped, and
their checksums are verified on every read.
"""

import math
import os
import shutil
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, NoReturn

import numpy as np

from ..._files import name_in_errors, open_regular, read_regular, sync_folder, write_all, write_text
from ..._json import format_json, parse_json
from ..._npy import HEADER_BYTES, npy_header
from ...contract import refuse
from ...models.plans import DTYPES
from ..locks import exclusive_lock

FORMAT = "bilinear-maps"
VERSION = 1
GIB = 2**30
LOCK = "maps.lock"
"""Not the name of the lock of a run: a cache may be in the folder of a run."""
TEMPORARY = ".maps-{}.tmp"
"""A folder that is being written, or that a killed process left."""


class MapSpec(NamedTuple):
    """Shape (h, w, C) and dtype name of one feature map of one image."""

    shape: tuple[int, ...]
    dtype: str

    @classmethod
    def of(cls, maps: np.ndarray) -> "MapSpec":
        """Args: `maps` are those of several images, (N, h, w, C)."""
        return cls(maps.shape[1:], maps.dtype.name)

    def __str__(self) -> str:
        return f"{' × '.join(map(str, self.shape))} {self.dtype}"

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * DTYPES[self.dtype].itemsize

    @property
    def stored_dtype(self) -> np.dtype:
        """The dtype in the file: ``.npy`` has no bfloat16, which is stored as its bits."""
        dtype = DTYPES[self.dtype]
        return np.dtype(f"<u{dtype.itemsize}") if dtype.kind == "V" else dtype.newbyteorder("<")


class MapSet(NamedTuple):
    """The feature maps of `count` images in one folder."""

    folder: Path
    specs: tuple[MapSpec, ...]
    count: int
    about: Mapping[str, Any]
    """What the feature maps depend on, as JSON."""

    @property
    def paths(self) -> list[Path]:
        return [self.folder / f"map-{i}.npy" for i in range(len(self.specs))]

    @property
    def bytes(self) -> int:
        """An upper bound on the bytes of the folder: a checksum takes up to 16 in the JSON list."""
        listed = self.to_json([[] for _ in self.specs])
        arrays = sum(HEADER_BYTES + self.count * spec.bytes for spec in self.specs)
        return arrays + len(listed) + 16 * (self.count + 1) * len(self.specs)

    def describe(self) -> dict[str, Any]:
        maps = [{"shape": [*spec.shape], "dtype": spec.dtype} for spec in self.specs]
        header = {"format": FORMAT, "version": VERSION, "about": dict(self.about)}
        return header | {"images": self.count, "maps": maps}

    def to_json(self, checksums: Sequence[Sequence[int]]) -> str:
        return format_json(self.describe() | {"crc32": checksums}, indent=1) + "\n"


class FeatureMaps:
    """A complete folder, memory-mapped. Raises: ValueError that names a damaged or foreign file."""

    def __init__(self, of: MapSet) -> None:
        file, expected, count = of.folder / "maps.json", of.describe(), of.count
        text = read_regular(file)
        try:
            listed = parse_json(text)
            found = {key: listed.get(key) for key in expected}
            self._checksums = [[int(crc) for crc in rows] for rows in listed["crc32"]]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            _refuse_damaged(file, "list the feature maps of its folder", repr(error)[:200])
        if found != expected or [len(rows) for rows in self._checksums] != [count] * len(of.specs):
            _refuse_damaged(file, f"list the feature maps of {count} images", f"{found}"[:200])
        self._paths = of.paths
        self._arrays = [_map_file(p, s, count) for p, s in zip(of.paths, of.specs, strict=True)]

    def rows(self, indices: np.ndarray) -> tuple[np.ndarray, ...]:
        """Copies of the feature maps of some images. Raises: ValueError for a damaged row."""
        maps = tuple(np.take(array, indices, axis=0) for array in self._arrays)
        for path, checksums, rows in zip(self._paths, self._checksums, maps, strict=True):
            for index, row in zip(indices, rows, strict=True):
                if (found := zlib.crc32(_bytes(row))) != checksums[index]:
                    what = f"have the checksum {checksums[index]:08x} of its row {index}"
                    _refuse_damaged(path, what, f"{found:08x}")
        return maps


def write_maps(
    maps: MapSet,
    batches: Callable[[], Iterable[Sequence[np.ndarray]]],
    *,
    limit: int,
    waiting: Callable[[], None],
) -> None:
    """Write a folder of feature maps, unless another process has done so meanwhile.

    Other writers to the same cache wait until this one ends; `waiting` is called meanwhile.

    Raises: ValueError for feature maps above the limit, or of other shapes or another number than
        announced; OSError that names the file which cannot be written.
    """
    folder, cache = maps.folder, maps.folder.parent
    cache.mkdir(parents=True, exist_ok=True)
    with exclusive_lock(cache / LOCK, waiting=waiting) as check_lock:
        if folder.exists():
            return
        _remove_temporary_folders(cache)
        check_space(cache, limit, f"feature maps of {format_bytes(maps.bytes)}", [maps])
        temporary = maps._replace(folder=folder.with_name(TEMPORARY.format(folder.name)))
        temporary.folder.mkdir()
        try:
            checksums = _write_rows(temporary, batches())
            write_text(temporary.folder / "maps.json", maps.to_json(checksums))
            check_lock()
            os.rename(temporary.folder, folder)
            sync_folder(cache)
        finally:
            shutil.rmtree(temporary.folder, ignore_errors=True)


def check_space(cache: Path, limit: int, description: str, asked: Sequence[MapSet]) -> int:
    """The bytes that are stored already. Raises: ValueError or OSError if the others do not fit."""
    _remove_leftovers(cache)
    sizes, there = {maps.folder: maps.bytes for maps in asked}, folder_sizes(cache)
    others = sum(size for path, size in there.items() if path not in sizes)
    total = sum(sizes.values())
    if total + others > limit:
        remedy = "Raise the limit, store fewer views, or delete folders that no run needs."
        invariant = f"{cache} must stay within {format_bytes(limit)}"
        received = f"{description}, beside {format_bytes(others)} of others"
        refuse(ValueError, "cache", invariant, received, remedy)
    stored = sum(
        size if path.exists() else min(size, there.get(path, 0)) for path, size in sizes.items()
    )
    parents = (cache.absolute(), *cache.absolute().parents)
    free = shutil.disk_usage(next(path for path in parents if path.exists())).free
    if total - stored > free:
        remedy = "Choose a folder on another disk, or store fewer views."
        invariant = f"{cache} needs {format_bytes(total - stored)} on its disk"
        refuse(OSError, "cache", invariant, f"{format_bytes(free)} free", remedy)
    return stored


def _remove_leftovers(cache: Path) -> None:
    """Remove what killed writers left, unless another process writes or the folder is read-only."""
    if any(cache.glob(TEMPORARY.format("*"))):
        with suppress(OSError), exclusive_lock(cache / LOCK):
            _remove_temporary_folders(cache)


def _remove_temporary_folders(cache: Path) -> None:
    """Call it with the lock held: then no writer is active."""
    for path in cache.glob(TEMPORARY.format("*")):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)


def folder_sizes(cache: Path) -> dict[Path, int]:
    """The bytes of each folder of a cache; a folder being written counts under its final name."""
    before, after = TEMPORARY.split("{}")
    sizes: dict[Path, int] = {}
    for path in cache.glob("*/"):
        key = cache / path.name.removeprefix(before).removesuffix(after)
        with suppress(FileNotFoundError):  # another process may remove it meanwhile
            size = sum(file.stat().st_size for file in path.iterdir())
            sizes[key] = sizes.get(key, 0) + size
    return sizes


def format_bytes(size: int) -> str:
    return f"{size / GIB:,.1f} GiB" if size >= GIB / 10 else f"{size / 2**20:,.1f} MiB"


def _write_rows(maps: MapSet, batches: Iterable[Sequence[np.ndarray]]) -> list[list[int]]:
    """The checksums of the rows of each feature map."""
    checksums: list[list[int]] = [[] for _ in maps.specs]
    with ExitStack() as stack:
        # unbuffered: closing a buffered file would try the failed write again
        files = [stack.enter_context(open(path, "wb", buffering=0)) for path in maps.paths]
        for path, file, spec in zip(maps.paths, files, maps.specs, strict=True):
            _write(path, file, npy_header((maps.count, *spec.shape), spec.stored_dtype))
        for batch in batches:
            if (found := [MapSpec.of(x) for x in batch]) != [*maps.specs]:
                invariant = f"feature maps must be {', '.join(map(str, maps.specs))}"
                _refuse_maps(invariant, ", ".join(map(str, found)))
            for i, array in enumerate(map(np.ascontiguousarray, batch)):
                checksums[i] += [zlib.crc32(_bytes(row)) for row in array]
                _write(maps.paths[i], files[i], _bytes(array))
        for path, file in zip(maps.paths, files, strict=True):
            with name_in_errors(path):
                os.fsync(file.fileno())
    if {len(rows) for rows in checksums} != {maps.count}:
        _refuse_maps(f"there must be feature maps of {maps.count} images", f"{len(checksums[0])}")
    return checksums


def _write(path: Path, file: BinaryIO, data: bytes | memoryview) -> None:
    with name_in_errors(path):
        write_all(file, data)


def _map_file(path: Path, spec: MapSpec, count: int) -> np.ndarray:
    shape, dtype = (count, *spec.shape), spec.stored_dtype
    header = npy_header(shape, dtype)
    with open_regular(path) as file:
        size, start = os.fstat(file.fileno()).st_size, file.read(len(header))
        if start != header or size != len(header) + count * spec.bytes:
            what = f"hold {count} feature maps {spec} after the header of this version"
            _refuse_damaged(path, what, f"{size} bytes, {start[:80]!r}")
        array = np.memmap(file, dtype, "r", len(header), shape)
    return np.asarray(array).view(DTYPES[spec.dtype])


def _bytes(array: np.ndarray) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _refuse_damaged(path: Path, what: str, received: str) -> NoReturn:
    remedy = f"Delete {path.parent}; the next run computes it again."
    refuse(ValueError, "cache", f"{path} must {what}", received, remedy)


def _refuse_maps(invariant: str, received: str) -> NoReturn:
    remedy = "Repair the images; a backbone gives feature maps of one size."
    refuse(ValueError, "cache", invariant, received, remedy)
