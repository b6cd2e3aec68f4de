"""Files that appear whole or not at all."""

import errno
import os
import secrets
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

if sys.platform != "win32":
    import fcntl

TEMPORARY = ".bilinear-{}.tmp"
"""A file that is being written beside the one whose place it takes."""
LEFTOVERS = TEMPORARY.format("*"), ".tmp??????"
"""What a killed process leaves of it; safetensors itself writes under the second name first."""


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[str]:
    """The name of an empty file to fill, which takes the place of `path` at the end of the block.

    A reader sees the old file or the new one, and after an exception the old one. A symbolic link
    is followed: the file it points to is replaced and the link stays. A file that is replaced
    hands on its permissions, a new one has the process's usual ones.
    Raises: OSError naming `path` where it cannot be written.
    """
    target = os.path.realpath(os.fsdecode(path))
    if os.path.isdir(target):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), target)
    folder = os.path.dirname(target)
    temporary = os.path.join(folder, TEMPORARY.format(secrets.token_hex(8)))
    try:
        mode = _create(temporary, target)
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.chmod(temporary, mode)  # the block may have put a private file in its place
        os.replace(temporary, target)
        sync(folder)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary)


@contextmanager
def locked(path: str | os.PathLike, *, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """That no other process is in such a block of the file; the system forgets it with the process.

    Where one is, `waiting` is called five times a second until it has left.
    Raises: BlockingIOError where one is, without `waiting`. Windows has no such locks: nothing is
        checked.
    """
    with open(path, "ab") as file:
        while sys.platform != "win32":
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if waiting is None:
                    raise
                waiting()
                time.sleep(0.2)  # and not inside flock, where Ctrl-C would only be noted
        yield


def write_all(file: BinaryIO, data: bytes | memoryview) -> None:
    """Write to an unbuffered file, whose `write` may take a part, as that of a disk getting full
    does before it refuses the rest."""
    while data:
        data = data[file.write(data) :]


@contextmanager
def naming(path: str | os.PathLike) -> Iterator[None]:
    """That errors of the system in this block name `path`."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, os.fsdecode(path)) from None


def append(path: str | os.PathLike, data: bytes, *, name: str | os.PathLike | None = None) -> None:
    """Add to a file, which is made if there is none; handed to the system before this returns.

    Raises: OSError naming `path`, or the `name` it is to have; a part may have been added.
    """
    with naming(name or path), open(path, "ab", buffering=0) as file:
        write_all(file, data)


def sync(folder: str | os.PathLike) -> None:
    """The new name too outlives a failing power supply; Windows cannot open folders."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _create(temporary: str, target: str) -> int:
    """An empty file, and the permissions the target is to have: its own, else the usual ones."""
    with naming(target):  # the caller does not know the temporary name
        handle = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    try:
        usual = os.fstat(handle).st_mode
    finally:
        os.close(handle)
    return stat.S_IMODE(os.stat(target).st_mode if os.path.exists(target) else usual)
