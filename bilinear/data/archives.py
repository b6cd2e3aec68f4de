"""Images that are members of an uncompressed tar archive, read in place and in any order."""

import io
import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, cast

from .._files import name_in_errors, open_regular, placeholder
from ..contract import refuse
from .index import Item

_LARGEST_HEADER = 2**20
"""Bytes that are read at once for a header; a hostile archive may ask for more."""


def list_members(path: Path) -> Iterator[tuple[tarfile.TarInfo, BinaryIO]]:
    """Yield the files in an archive, with the archive, of which any part may be read meanwhile.

    Nothing is unpacked, and one header is in memory at a time.

    Raises: ValueError that names the archive if it is damaged, truncated or compressed, or has a
        member that is neither a file nor a folder; OSError.
    """
    with open_regular(path) as file:
        for member in _headers(path, file):
            if not (member.isdir() or (member.isreg() and not member.issparse())):
                received = f"{member.name}, a link, a sparse or a special file"
                _refuse(f"{path} must contain files only", received, "Write it again without it.")
            if not member.isdir():
                yield member, file


@contextmanager
def open_item(root: Path, item: Item) -> Iterator[BinaryIO]:
    """Open the file of an image; of an archive, only the bytes of this image can be read.

    Raises: OSError that names the file if it cannot be opened or is not a regular file; ValueError
        that names the image if the archive does not have it in its place.
    """
    with open_regular(root / item.file) as file:
        yield file if item.offset is None else _open_member(root, item, item.offset, file)


def _open_member(root: Path, item: Item, offset: int, file: BinaryIO) -> BinaryIO:
    name = os.fspath(root / item.path)
    file.seek(offset)
    try:
        with name_in_errors(name), _open_archive(file) as archive:
            member = archive.next()
    except OSError:
        raise
    except Exception:  # as below
        member = None
    if (
        member is None
        or f"{item.file}/{member_path(member)}" != item.path
        or member.offset_data + member.size > os.fstat(file.fileno()).st_size
    ):
        remedy = "The archive was replaced or truncated: open the data set again."
        _refuse(f"{name} must be in its archive", "other bytes in its place", remedy)
    return cast("BinaryIO", io.BufferedReader(_Part(file, member.offset_data, member.size, name)))


def member_path(member: tarfile.TarInfo) -> str:
    """The path of a member in its archive, without the ``./`` that tar may put before it."""
    return member.name.removeprefix("./")


def _headers(path: Path, file: BinaryIO) -> Iterator[tarfile.TarInfo]:
    before = -1
    try:
        with name_in_errors(path), _open_archive(file) as archive:
            while (member := archive.next()) is not None:
                if not (before < member.offset and member.size >= 0):
                    raise tarfile.ReadError("a header with a negative size")
                before = member.offset
                yield member
                archive.members = []  # it would keep all of them
            file.seek(archive.offset)  # tarfile takes a damaged header for the end
            if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise tarfile.ReadError("no end of the archive")
    except OSError:
        raise
    except Exception as error:  # tarfile raises many types for damaged headers
        file.seek(0)
        remedy = "Decompress a compressed archive. Download or write a damaged one again."
        received, remedy = placeholder(file) or (f"{type(error).__name__}: {error}", remedy)
        _refuse(f"{path} must be a complete, uncompressed tar archive", received, remedy)


def _open_archive(file: BinaryIO) -> Any:
    """Open the archive at the position of a file: a `TarFile` with attributes that have no type."""
    return tarfile.open(fileobj=cast("Any", _Bounded(file)), mode="r:")


def _refuse(invariant: str, received: str, remedy: str) -> NoReturn:
    refuse(ValueError, "archive", invariant, received, remedy)


class _Bounded:
    """A file of which `tarfile` reads a bounded number of bytes at once."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.seek, self.tell = file, file.seek, file.tell

    def read(self, size: int) -> bytes:
        if not 0 <= size <= _LARGEST_HEADER:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        return self._file.read(size)


class _Part(io.RawIOBase):
    """A part of a file, as a file that can be read. `name` is that of errors."""

    def __init__(self, file: BinaryIO, start: int, size: int, name: str) -> None:
        super().__init__()
        self._file, self._start, self._size, self._at = file, start, size, 0
        self.name = name

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = (0, self._at, self._size)[whence] + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        self._file.seek(self._start + self._at)
        wanted = max(min(len(buffer), self._size - self._at), 0)
        count = cast("io.BufferedReader", self._file).readinto(memoryview(buffer)[:wanted])
        self._at += count
        return count
