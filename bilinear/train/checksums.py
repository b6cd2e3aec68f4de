"""Checksums by which a resumed run recognizes its state and its images."""

import hashlib
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from io import BufferedReader
from pathlib import Path
from typing import Protocol, cast

import numpy as np

from .._files import name_in_errors, read_regular, write_text
from .._json import format_json, parse_json, read_json
from ..contract import refuse
from ..data import Index, Item, Pipeline
from ..data.archives import open_item

REMEDY = "Restore the files, or start a new run."
_NAMED = 3
"""Changed files that an error lists."""
_RESOLUTION = 2 * 10**9
"""Nanoseconds: the coarsest times of files, those of FAT."""


class Position(Protocol):
    """The part of the state of a run that tells which images it has read."""

    passes: int
    batch: int


def tensors_checksum(tensors: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of names, dtypes, shapes and values, in hexadecimal."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tensor.shape}".encode())
        digest.update(np.ascontiguousarray(tensor).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


class ImageFiles:
    """SHA-256 of each training and validation image of a run; test images are not opened.

    Args:
        cache: a file in which `write` and `check` store the checksums, with the size, the times and
            the inode of each file. While these are the same, the image is not read again.

    Raises: OSError that names a file which cannot be read.
    """

    def __init__(self, index: Index, training: Pipeline, cache: Path) -> None:
        self._index, self._training, self._cache = index, training, cache
        items = {item.path: item for item in index.items if item.split != "test"}
        root, stored = index.root, _read_cache(cache)
        self._states = {k: _state(root, items[k], stored.get(k, "")) for k in sorted(items)}
        self._is_stored = self._states == stored

    @property
    def _checksums(self) -> dict[str, str]:
        return {path: state.split()[0] for path, state in self._states.items()}

    def write(self, path: Path) -> None:
        """Write the checksums to a JSON file."""
        write_text(path, format_json(self._checksums, indent=0) + "\n")
        self._write_cache()

    def _write_cache(self) -> None:
        if not self._is_stored:
            text = format_json(self._states, indent=0)
            write_text(self._cache, f"{hashlib.sha256(text.encode()).hexdigest()}\n{text}")

    def check(self, op: str, path: Path, position: Position) -> None:
        """Compare the files with those of `write`, and write the checksums of repaired ones.

        A file may differ if the run has not read it yet: one that could not be read was replaced.

        Raises: ValueError that names changed files, or `path` if it is not a file of `write`.
        """
        self._write_cache()
        before, now = _read(op, path), self._checksums
        if before.keys() != now.keys():
            invariant = f"{path} must have the checksum of every image of the run"
            refuse(ValueError, op, invariant, "a file of other images", REMEDY)
        changed = [name for name, found in now.items() if found != before[name]]
        if not changed:
            return
        unread = self._unread(position)
        if wrong := [name for name in changed if name not in unread]:
            invariant = f"the images in {self._index.root} must be those of the run"
            refuse(ValueError, op, invariant, _listed(wrong, "changed"), REMEDY)
        self.write(path)

    def differences(self, op: str, path: Path) -> list[str]:
        """How the list of images differs from that of `write`."""
        before, now = _read(op, path).keys(), self._states.keys()
        pairs = (now - before, "more"), (before - now, "missing")
        found = [_listed(sorted(names), word) for names, word in pairs if names]
        return found or ["the same images in other classes, splits or boxes"]

    def _unread(self, position: Position) -> set[str]:
        """The images from which the run has learned nothing yet, before its first validation."""
        if position.passes:
            return set()
        items = self._index.items
        rest = self._training.batch_indices(0, position.batch)
        unread = {items[i].path for batch in rest for i in batch}
        return unread | {item.path for item in items if item.split == "validation"}


def _state(root: Path, item: Item, stored: str) -> str:
    """The checksum of an image, and the size, times and inode of its file.

    `stored` is what an earlier start has stored, or empty. Only the checksum is returned for a file
    that has just changed: another change might leave its times as they are.
    """
    now, status = time.time_ns(), os.stat(root / item.file)
    times = status.st_mtime_ns, status.st_ctime_ns
    state = f" {status.st_size} {times[0]} {times[1]} {status.st_ino}"
    if stored.endswith(state):
        return stored
    with open_item(root, item) as file, name_in_errors(root / item.path):
        checksum = hashlib.file_digest(cast("BufferedReader", file), "sha256").hexdigest()
    return checksum + state if max(times) < now - _RESOLUTION else checksum


def _read_cache(path: Path) -> dict[str, str]:
    """The content of a cache; empty if it does not exist or is damaged."""
    with suppress(OSError):
        checksum, _, text = read_regular(path).partition(b"\n")
        if hashlib.sha256(text).hexdigest().encode() == checksum:
            return parse_json(text)
    return {}


def _read(op: str, path: Path) -> dict[str, str]:
    before = read_json(op, path, REMEDY)
    if not isinstance(before, dict):
        invariant = f"{path} must have the checksum of every image of the run"
        refuse(ValueError, op, invariant, type(before).__name__, REMEDY)
    return before


def _listed(names: list[str], word: str) -> str:
    """The number of images and the first names."""
    return f"{len(names):,} {word}: {', '.join(names[:_NAMED])}{', …' * (len(names) > _NAMED)}"
