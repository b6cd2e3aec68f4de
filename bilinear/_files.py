"""Atomic replacement of files, writing of whole buffers, and opening of regular files."""

import errno
import hashlib
import os
import secrets
import shutil
import stat
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, cast

TEMPORARY = ".bilinear-{}.tmp"
"""Name of a temporary file, in the folder of the file that it will replace."""
LEFTOVERS = TEMPORARY.format("*"), ".tmp??????"
"""Patterns of temporary files that a killed process leaves. safetensors uses the second one."""


_KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}


def open_regular(path: str | os.PathLike, mode: str = "rb", buffering: int = -1) -> BinaryIO:
    """Open a regular file in a binary mode, as `open`; symbolic links are followed.

    The kind of file is checked on the open descriptor, so the file cannot be exchanged in between.
    Opening never waits, for example for a process that writes to a FIFO.

    Raises: OSError that names `path` if it cannot be opened or is not a regular file.
    """
    return cast("BinaryIO", open(path, mode, buffering, opener=_open_regular))


def read_regular(path: str | os.PathLike) -> bytes:
    """Read a regular file. Raises: OSError that names `path`."""
    with open_regular(path) as file, name_in_errors(path):
        return file.read()


def file_checksum(path: str | os.PathLike) -> str:
    """SHA-256 of a regular file, in hexadecimal. Raises: OSError that names `path`."""
    with open_regular(path) as file, name_in_errors(path):
        return hashlib.file_digest(cast("BufferedReader", file), "sha256").hexdigest()


def _open_regular(path: str, flags: int) -> int:
    for name in ("O_NONBLOCK", "O_NOCTTY"):  # Windows has neither
        flags |= getattr(os, name, 0)
    handle = os.open(path, flags, 0o666)
    try:
        _check_regular(path, os.fstat(handle), "Copy the data to a file, and name that file.")
    except OSError:
        os.close(handle)
        raise
    return handle


def _check_regular(path: str | os.PathLike, status: os.stat_result, remedy: str) -> None:
    """Refuse a special file. A folder passes: the functions of the system refuse it themselves."""
    kind = stat.S_IFMT(status.st_mode)
    if kind not in (stat.S_IFREG, stat.S_IFDIR):
        received = _KINDS.get(kind, "a special file")
        requirement = f"{os.fsdecode(path)}: the path must name a regular file; got {received}"
        raise OSError(f"{requirement}. {remedy}")


_PLACEHOLDERS = (
    (
        (b"version https://git-lfs.github.com/spec/",),
        "a Git LFS pointer",
        "Fetch the file itself: git lfs pull.",
    ),
    (
        (b"<!doctype html", b"<html"),
        "an HTML page",
        "The server sent a page in place of the file; download the file itself.",
    ),
)


def placeholder(file: BinaryIO) -> tuple[str, str] | None:
    """Recognize what stands in place of a file after an incomplete download.

    Args:
        file: at its start, where it is again afterwards.

    Returns: what the file is, and the remedy; None if it is neither a Git LFS pointer nor an HTML
        page.
    """
    start = file.read(128)
    file.seek(0)
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for prefixes, received, remedy in _PLACEHOLDERS:
        if text.startswith(prefixes):
            return received, remedy
    return None


def check_outputs(
    outputs: Iterable[str | os.PathLike], inputs: Iterable[str | os.PathLike]
) -> None:
    """Refuse an output that is an input file, also under the name of a link. Raises: ValueError."""
    existing = {}
    for path in outputs:
        with suppress(OSError):
            status = os.stat(path)
            existing[status.st_dev, status.st_ino] = os.fsdecode(path)
    for path in inputs if existing else ():
        with suppress(OSError):  # reading the input reports the error
            status = os.stat(path)
            if output := existing.get((status.st_dev, status.st_ino)):
                requirement = f"{output}: an output must not replace an input"
                received = f"the input {os.fsdecode(path)}"
                raise ValueError(f"{requirement}; got {received}. Choose another output.")


def check_uncompressed(file: BinaryIO) -> None:
    """Raise ValueError for a zip archive whose contents are larger than it, before they are read.

    `torch.save` and Keras compress nothing. The file is at its start, where it is again afterwards.
    """
    is_archive = file.read(4) == b"PK\x03\x04"
    file.seek(0)
    if is_archive:
        with zipfile.ZipFile(file) as archive:
            content = sum(entry.file_size for entry in archive.infolist())
        size = os.fstat(file.fileno()).st_size
        if content > size:
            received = f"{content:,} bytes in an archive of {size:,}"
            raise ValueError(f"its contents must be stored without compression; got {received}")
        file.seek(0)


@contextmanager
def replace_file(path: str | os.PathLike) -> Iterator[str]:
    """Yield the name of an empty temporary file; replace `path` with it at the end of the block.

    The replacement is atomic: readers see either the old file or the complete new one. After an
    exception the old file stays. If `path` is a symbolic link, the file that it points to is
    replaced. The permissions of a replaced file are preserved.

    Raises: OSError that names `path` if it cannot be written or is a special file.
    """
    target = os.path.realpath(os.fsdecode(path))
    if os.path.isdir(target):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), target)
    if os.path.exists(target):
        _check_regular(path, os.stat(target), "Choose another name for the output.")
    folder = os.path.dirname(target)
    temporary = os.path.join(folder, TEMPORARY.format(secrets.token_hex(8)))
    try:
        mode = _create(temporary, target)
        yield temporary
        with name_in_errors(target):
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
            os.chmod(temporary, mode)  # the caller may have replaced the temporary file
            os.replace(temporary, target)
            sync_folder(folder)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary)


@contextmanager
def new_folder(path: str | os.PathLike) -> Iterator[str]:
    """Yield the name of an empty temporary folder; rename it to `path` at the end of the block.

    Raises: OSError that names `path` if it exists or cannot be written.
    """
    target = os.path.abspath(os.fsdecode(path))
    if os.path.lexists(target):
        requirement = f"{os.fsdecode(path)}: the folder must be new; got one that exists"
        raise FileExistsError(f"{requirement}. Remove it, or pass another path.")
    temporary = os.path.join(os.path.dirname(target), TEMPORARY.format(secrets.token_hex(8)))
    try:
        with name_in_errors(path):
            os.mkdir(temporary)
        yield temporary
        with name_in_errors(path):
            os.rename(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_all(file: BinaryIO, data: bytes | memoryview) -> None:
    """Write all of `data` to an unbuffered file, whose `write` may accept only a part of it."""
    while data:
        data = data[file.write(data) :]


@contextmanager
def name_in_errors(path: str | os.PathLike) -> Iterator[None]:
    """Re-raise an OSError of this block with `path` as its file name."""
    try:
        yield
    except OSError as error:
        if error.errno is None:  # it has a text of this library, which names the file
            raise
        raise OSError(error.errno, error.strerror, os.fsdecode(path)) from None


def write_text(path: str | os.PathLike, text: str, *, newline: str | None = None) -> None:
    """Replace a file by one with this text, in UTF-8. Raises: OSError that names `path`."""
    with replace_file(path) as temporary, name_in_errors(path):
        Path(temporary).write_text(text, encoding="utf-8", newline=newline)


def append(path: str | os.PathLike, data: bytes, *, name: str | os.PathLike | None = None) -> None:
    """Append to a file, unbuffered; create the file if it does not exist.

    Raises: OSError that names `name`, or `path` if `name` is None. A part of `data` may have been
        written.
    """
    with name_in_errors(name or path), open_regular(path, "ab", buffering=0) as file:
        write_all(file, data)


def sync_folder(folder: str | os.PathLike) -> None:
    """Flush a folder to disk, so that new names survive a power failure. No effect on Windows."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _create(temporary: str, target: str) -> int:
    """Create an empty file; return the permissions of the target, or default ones if it is new."""
    with name_in_errors(target):  # the caller does not know the temporary name
        handle = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    try:
        default = os.fstat(handle).st_mode
    finally:
        os.close(handle)
    return stat.S_IMODE(os.stat(target).st_mode if os.path.exists(target) else default)
