"""Checksums by which a resumed run recognizes its state and its images."""

import hashlib
from collections.abc import Mapping
from io import BufferedReader
from pathlib import Path
from typing import Protocol, cast

import numpy as np

from .._files import name_in_errors, write_text
from .._json import format_json, read_json
from ..contract import refuse
from ..data import Index, Item, Pipeline
from ..data.archives import open_item

REMEDY = "Restore the files, or start a new run."
_NAMED = 3
"""Changed files that an error lists."""


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

    Raises: OSError that names a file which cannot be read.
    """

    def __init__(self, index: Index, training: Pipeline) -> None:
        self._index, self._training = index, training
        items = {item.path: item for item in index.items if item.split != "test"}
        self._checksums = {path: _checksum(index.root, items[path]) for path in sorted(items)}

    def write(self, path: Path) -> None:
        """Write the checksums to a JSON file."""
        write_text(path, format_json(self._checksums, indent=0) + "\n")

    def check(self, op: str, path: Path, position: Position) -> None:
        """Compare the files with those of `write`, and write the checksums of repaired ones.

        A file may differ if the run has not read it yet: one that could not be read was replaced.

        Raises: ValueError that names changed files, or `path` if it is not a file of `write`.
        """
        before = _read(op, path)
        if before.keys() != self._checksums.keys():
            invariant = f"{path} must have the checksum of every image of the run"
            refuse(ValueError, op, invariant, "a file of other images", REMEDY)
        changed = [name for name, found in self._checksums.items() if found != before[name]]
        if not changed:
            return
        unread = self._unread(position)
        if wrong := [name for name in changed if name not in unread]:
            invariant = f"the images in {self._index.root} must be those of the run"
            refuse(ValueError, op, invariant, _listed(wrong, "changed"), REMEDY)
        self.write(path)

    def differences(self, op: str, path: Path) -> list[str]:
        """How the list of images differs from that of `write`."""
        before, now = _read(op, path).keys(), self._checksums.keys()
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


def _checksum(root: Path, item: Item) -> str:
    with open_item(root, item) as file, name_in_errors(root / item.path):
        return hashlib.file_digest(cast("BufferedReader", file), "sha256").hexdigest()


def _read(op: str, path: Path) -> dict[str, str]:
    before = read_json(op, path, REMEDY)
    if not isinstance(before, dict):
        invariant = f"{path} must have the checksum of every image of the run"
        refuse(ValueError, op, invariant, type(before).__name__, REMEDY)
    return before


def _listed(names: list[str], word: str) -> str:
    """The number of images and the first names."""
    return f"{len(names):,} {word}: {', '.join(names[:_NAMED])}{', …' * (len(names) > _NAMED)}"
