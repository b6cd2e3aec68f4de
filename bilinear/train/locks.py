"""Exclusive locks between processes, by `filelock`. The system releases a lock with its process."""

import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

try:
    import fcntl
except ImportError:  # Windows, where the lock file cannot be deleted while it is open
    fcntl = None

POLL_SECONDS = 0.2


@contextmanager
def exclusive_lock(
    path: str | os.PathLike, *, waiting: Callable[[], None] | None = None
) -> Iterator[Callable[[], None]]:
    """Hold an exclusive advisory lock on `path`, which is created if it does not exist.

    The block receives a function to call before each write: it raises OSError once the lock file
    was deleted or replaced, so that another process can acquire the path. `waiting` is called every
    0.2 s while another process holds the lock; without it, BlockingIOError is raised.
    """
    lock = FileLock(path, blocking=False)
    while not lock.is_locked:
        try:
            lock.acquire()
        except Timeout:
            if waiting is None:
                words = "the lock is held by another process"
                raise BlockingIOError(errno.EAGAIN, words, os.fspath(path)) from None
            waiting()
            time.sleep(POLL_SECONDS)
    held = os.stat(path)

    def check() -> None:
        if not os.path.exists(path) or not os.path.samestat(os.stat(path), held):
            words = "the lock file was deleted; another process may write here now"
            raise OSError(errno.ESTALE, words, os.fspath(path))

    try:
        yield check
    finally:
        lock.release()


@contextmanager
def folder_lock(folder: str | os.PathLike) -> Iterator[None]:
    """Hold an exclusive lock on a folder itself, which no file has to be deleted for.

    It has no effect on Windows and on network file systems that lock only files.

    Raises: BlockingIOError if another process holds it.
    """
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if isinstance(error, BlockingIOError):
                raise
        yield
    finally:
        os.close(handle)
