"""Feature maps of images on disk: a folder for each set, there whole or not at all.

::

    3f5c…/map-0.npy   the first map of every image, one after the other
    3f5c…/maps.json   what they are, and a checksum of each image's

The name of a folder is the key of all that its content depends on. Rows are mapped into memory,
and held to their checksums whenever they are read.
"""

import io
import json
import math
import os
import shutil
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, NoReturn

import numpy as np

from .._files import locked, name_in_errors, replace_file, sync_folder, write_all
from ..contract import refuse
from ..models.plans import DTYPES

FORMAT = "bilinear-maps"
VERSION = 1
GIB = 2**30
LOCK = "maps.lock"
"""The folder may be that of a run, which has a lock and temporary files of its own."""
TEMPORARY = ".maps-{}.tmp"
"""A folder that is being written, or that a killed process left."""


class Kind(NamedTuple):
    """One map of one image: (h, w, C) and the name of its dtype."""

    shape: tuple[int, ...]
    dtype: str

    @classmethod
    def of(cls, maps: np.ndarray) -> "Kind":
        """Of maps of several images."""
        return cls(maps.shape[1:], maps.dtype.name)

    def __str__(self) -> str:
        return f"{' × '.join(map(str, self.shape))} {self.dtype}"

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * DTYPES[self.dtype].itemsize


class Maps:
    """The maps of one folder, by the number of their image, mapped into memory.

    Raises: ValueError that names the file, for one that is damaged or holds something else;
        OSError where one cannot be opened.
    """

    def __init__(
        self, folder: Path, kinds: Sequence[Kind], count: int, about: Mapping[str, Any]
    ) -> None:
        file, wanted = folder / "maps.json", _note(kinds, count, about)
        try:
            note = json.loads(file.read_text(encoding="utf-8"))
            found = {key: note.get(key) for key in wanted}
            self._sums = [[int(number) for number in sums] for sums in note["crc32"]]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            _damaged(file, "list the maps of its folder", repr(error))
        if found != wanted or [len(sums) for sums in self._sums] != [count] * len(kinds):
            _damaged(file, f"list the maps of {count} images", f"{found}"[:200])
        self._paths = [folder / _name(i) for i in range(len(kinds))]
        pairs = zip(self._paths, kinds, strict=True)
        self._arrays = [_mapped(path, kind, count) for path, kind in pairs]

    def rows(self, numbers: np.ndarray) -> tuple[np.ndarray, ...]:
        """Copies of the maps of some images. Raises: ValueError for one that is damaged."""
        maps = tuple(np.take(array, numbers, axis=0) for array in self._arrays)
        for path, sums, rows in zip(self._paths, self._sums, maps, strict=True):
            for number, row in zip(numbers, rows, strict=True):
                if (found := _checksum(row)) != sums[number]:
                    what = f"have the checksum {sums[number]:08x} of its row {number}"
                    _damaged(path, what, f"{found:08x}")
        return maps


def write(
    folder: Path,
    kinds: Sequence[Kind],
    count: int,
    batches: Callable[[], Iterable[Sequence[np.ndarray]]],
    about: Mapping[str, Any],
    *,
    limit: int,
    waiting: Callable[[], None],
) -> None:
    """Write the maps of `count` images, unless they are there by now.

    Others who want to write into the folder above wait for the end of this.

    Args:
        batches: makes the maps of some images after the other.
        about: what they depend on, as JSON has it.
        limit: bytes of the folder above, with these.
        waiting: called again and again while another process writes there.

    Raises: ValueError for maps above the limit, and for other ones, or others in number, than
        announced; OSError that names the file which cannot be written.
    """
    cache = folder.parent
    cache.mkdir(parents=True, exist_ok=True)
    with locked(cache / LOCK, waiting=waiting):
        if folder.exists():
            return
        _remove_leftovers(cache)
        size = size_of(kinds, count, about)
        check_limit(cache, f"maps of {amount(size)}", size, sum(taken(cache).values()), limit)
        check_room(cache, size)
        temporary = folder.with_name(TEMPORARY.format(folder.name))
        temporary.mkdir()
        try:
            sums = _write_rows(temporary, kinds, count, batches())
            with replace_file(temporary / "maps.json") as name:
                Path(name).write_text(_text(kinds, count, about, sums), encoding="utf-8")
            os.rename(temporary, folder)
            sync_folder(cache)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def sweep(cache: Path) -> None:
    """Remove what killed writers left, unless another writes there now or this one may not."""
    if any(cache.glob(TEMPORARY.format("*"))):
        with suppress(OSError), locked(cache / LOCK):
            _remove_leftovers(cache)


def _remove_leftovers(cache: Path) -> None:
    """For who has the lock: no writer is at work."""
    for path in cache.glob(TEMPORARY.format("*")):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)


def taken(cache: Path) -> dict[Path, int]:
    """The bytes of each folder of a cache; one that is being written has the name it will have."""
    before, after = TEMPORARY.split("{}")
    there: dict[Path, int] = {}
    for path in cache.glob("*/"):
        key = cache / path.name.removeprefix(before).removesuffix(after)
        there[key] = there.get(key, 0) + bytes_of(path)
    return there


def check_limit(cache: Path, what: str, size: int, others: int, limit: int) -> None:
    """That so many bytes stay within a limit. Raises: ValueError where they do not."""
    if size + others > limit:
        remedy = "Raise the limit, keep fewer views, or delete what nothing needs there."
        invariant = f"{cache} must stay within {amount(limit)}"
        refuse(ValueError, "cache", invariant, f"{what}, beside {amount(others)} of others", remedy)


def check_room(folder: Path, size: int) -> None:
    """That so many bytes more fit on its disk. Raises: OSError that names it, where they do not."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    if size > free:
        remedy = "Name a folder on another disk, or keep fewer views."
        invariant = f"{folder} needs {amount(size)} on its disk"
        refuse(OSError, "cache", invariant, f"{amount(free)} free", remedy)


def bytes_of(folder: Path) -> int:
    """Of its files; none where another process takes it away meanwhile."""
    with suppress(FileNotFoundError):
        return sum(path.stat().st_size for path in folder.iterdir())
    return 0


def size_of(kinds: Sequence[Kind], count: int, about: Mapping[str, Any]) -> int:
    """The bytes of a folder, none too few: a checksum takes up to 16 in its list."""
    lists = 16 * (count + 1) * len(kinds)
    arrays = sum(len(_header(kind, count)) + count * kind.bytes for kind in kinds)
    return lists + arrays + len(_text(kinds, count, about, [[] for _ in kinds]))


def amount(size: int) -> str:
    """Bytes in words."""
    return f"{size / GIB:,.1f} GiB" if size >= GIB / 10 else f"{size / 2**20:,.1f} MiB"


def _write_rows(
    folder: Path, kinds: Sequence[Kind], count: int, batches: Iterable[Sequence[np.ndarray]]
) -> list[list[int]]:
    """The checksums of the rows of each map."""
    sums: list[list[int]] = [[] for _ in kinds]
    paths = [folder / _name(i) for i in range(len(kinds))]
    files = []
    try:
        for path, kind in zip(paths, kinds, strict=True):
            # without a buffer, which closing the file would try to write once more
            files.append(open(path, "wb", buffering=0))  # noqa: SIM115 (as many as maps)
            _write(path, files[-1], _header(kind, count))
        for maps in batches:
            if [Kind.of(x) for x in maps] != [*kinds]:
                received = ", ".join(str(Kind.of(x)) for x in maps)
                _refuse(f"maps must be {', '.join(map(str, kinds))}", received)
            for place, array in enumerate(map(np.ascontiguousarray, maps)):
                sums[place] += [_checksum(row) for row in array]
                _write(paths[place], files[place], _bytes(array))
        for path, file in zip(paths, files, strict=True):
            _write(path, file, b"")
    finally:
        for file in files:
            file.close()
    if {len(one) for one in sums} != {count}:
        _refuse(f"there must be maps of {count} images", f"{len(sums[0])}")
    return sums


def _write(path: Path, file: BinaryIO, data: bytes | memoryview) -> None:
    """Some bytes more, or none: then all to the disk. Errors of the system name the file."""
    with name_in_errors(path):
        write_all(file, data)
        if not data:
            os.fsync(file.fileno())


def _header(kind: Kind, count: int) -> bytes:
    """What NumPy's files begin with."""
    file, header = io.BytesIO(), {"descr": _stored(kind).str, "fortran_order": False}
    header["shape"] = (count, *kind.shape)  # type: ignore[assignment]
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue()


def _mapped(path: Path, kind: Kind, count: int) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r")
    except (ValueError, EOFError) as error:  # what NumPy says of a header, or of too few bytes
        _damaged(path, "be an array of NumPy", f"{error}"[:200])
    if (array.shape, array.dtype) != ((count, *kind.shape), _stored(kind)):
        _damaged(path, f"hold {count} maps {kind}", f"{array.shape} {array.dtype}")
    return np.asarray(array).view(DTYPES[kind.dtype])


def _stored(kind: Kind) -> np.dtype:
    """NumPy's files know no bfloat16: its bits are kept."""
    own = DTYPES[kind.dtype]
    return np.dtype(f"<u{own.itemsize}") if own.kind == "V" else own.newbyteorder("<")


def _checksum(row: np.ndarray) -> int:
    return zlib.crc32(_bytes(row))


def _bytes(array: np.ndarray) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _name(number: int) -> str:
    return f"map-{number}.npy"


def _note(kinds: Sequence[Kind], count: int, about: Mapping[str, Any]) -> dict[str, Any]:
    listed = [{"shape": [*kind.shape], "dtype": kind.dtype} for kind in kinds]
    note = {"format": FORMAT, "version": VERSION, "about": dict(about)}
    return note | {"images": count, "maps": listed}


def _text(
    kinds: Sequence[Kind], count: int, about: Mapping[str, Any], sums: Sequence[Sequence[int]]
) -> str:
    return json.dumps(_note(kinds, count, about) | {"crc32": sums}, indent=1) + "\n"


def _damaged(path: Path, what: str, received: str) -> NoReturn:
    remedy = f"It was changed by something else; delete {path.parent}, and it is made anew."
    refuse(ValueError, "cache", f"{path} must {what}", received, remedy)


def _refuse(invariant: str, received: str) -> NoReturn:
    refuse(
        ValueError,
        "cache",
        invariant,
        received,
        "Mend the images; a backbone gives maps of one size.",
    )
