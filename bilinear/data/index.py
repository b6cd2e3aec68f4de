"""The index of a data set as plain data: class names, images, labels and splits.

index = open_dataset("CUB_200_2011")
index.classes, len(index.split("train")), index.checksum()
"""

import hashlib
import json
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from ..contract import refuse

Split = Literal["train", "validation", "test"]
Box = tuple[int, int, int, int]

SPLITS: tuple[str, ...] = get_args(Split)
ARCHIVE = ".tar"
"""Suffix of the archives whose members are images."""


class Item(NamedTuple):
    """One image: its path below the root (with slashes), its label and its split.

    `banner` rows are cut off at the bottom, then the image is cropped to `box`: (left, top, right,
    bottom) in pixels from the upper left corner, without right and bottom. A box may extend beyond
    the image.

    `offset` is the position of the image in an archive: the image of the path
    ``"train-0.tar/finch/1.jpg"`` is the member ``finch/1.jpg``, whose header starts at this byte of
    ``train-0.tar``. Default None: a file of its own.
    """

    path: str
    label: int
    split: Split
    box: Box | None = None
    banner: int = 0
    offset: int | None = None

    @property
    def file(self) -> str:
        """The path of the file below the root; of a member of an archive, that of the archive."""
        if self.offset is None:
            return self.path
        return self.path.partition(f"{ARCHIVE}/")[0] + ARCHIVE


@dataclass(frozen=True)
class Index:
    """The images of a data set in a fixed order. `Batch.indices` are positions in `items`.

    Args:
        root: the folder that the paths of the items start from.
        classes: class names in the order of the labels.
        items: the images.
        name: the name of the data set in error messages.

    Raises: ValueError for a class name that is empty, not Unicode text or used twice; a label
        without a class; an unknown split; a path that is absolute or has a part ``.`` or ``..``; or
        an image in two splits or two classes.
    """

    root: Path
    classes: tuple[str, ...]
    items: tuple[Item, ...] = field(repr=False)
    name: str

    def __post_init__(self):
        _check_classes(self.name, self.classes)
        first: dict[str, Item] = {}
        for item in self.items:
            path, label, split, *_ = item
            if not 0 <= label < len(self.classes):
                invariant = f"labels must be from 0 to {len(self.classes) - 1}"
                remedy = "Number the classes from 0, in the order of their names."
                refuse(ValueError, self.name, invariant, f"{label} for {path}", remedy)
            _check_split(self.name, split)
            if not is_inside(path):
                invariant = "paths must be relative to the root, without . and .."
                refuse(ValueError, self.name, invariant, repr(path))
            other = first.setdefault(path, item)
            remedy = "Remove it from one of them."
            if other.split != split:
                received = f"{path} in {other.split} and in {split}"
                refuse(
                    ValueError, self.name, "an image must be in one split only", received, remedy
                )
            if other.label != label:
                received = f"{path} in {self.classes[other.label]} and in {self.classes[label]}"
                refuse(
                    ValueError, self.name, "an image must be in one class only", received, remedy
                )

    def split(self, name: Split) -> tuple[Item, ...]:
        """Return the images of one split."""
        _check_split(self.name, name)
        return tuple(item for item in self.items if item.split == name)

    def checksum(self) -> str:
        """SHA-256 checksum of classes and items. It does not depend on the root folder.

        Equal checksums mean the same list of images in the same splits. The contents of the image
        files, and positions in archives, are not included.
        """
        items = [item[:-1] for item in self.items]
        listed = json.dumps([self.classes, items], separators=(",", ":"))
        return hashlib.sha256(listed.encode()).hexdigest()


def is_inside(path: str) -> bool:
    """Return whether a path stays below the folder it starts from, and has only one spelling."""
    parts = path.replace(os.sep, "/").split("/")
    return not ({"", ".", ".."} & {*parts} or "\0" in path or os.path.splitdrive(path)[0])


def _check_classes(op: str, classes: tuple[str, ...]) -> None:
    seen: set[str] = set()
    for name in classes:
        problem = f"{name!r} twice" if name in seen else "" if name.strip() else "an empty name"
        try:
            name.encode()
        except UnicodeEncodeError:  # a folder name that is not UTF-8
            problem = f"{name!r}, which is not Unicode text"
        if problem:
            refuse(
                ValueError, op, "each class must have its own name", problem, "Rename the class."
            )
        seen.add(name)


def _check_split(op: str, split: object) -> None:
    if split not in SPLITS:
        remedy = "Choose one of them."
        refuse(ValueError, op, f"split must be one of {', '.join(SPLITS)}", repr(split), remedy)


class Counts(NamedTuple):
    """Published number of classes, and of images in each split."""

    classes: int
    train: int
    validation: int
    test: int


def check_complete(index: Index, counts: Counts | None) -> Index:
    """Return `index`. Raises: one ValueError with all missing files and wrong `counts`."""
    problems = _wrong_counts(index, counts) if counts else []
    if missing := _missing(index):
        listed = f"{len(index.items):,} images are listed"
        problems.append(f"{listed}, {len(missing):,} are missing, the first {missing[0]}")
    if problems:
        invariant = f"{index.root} must contain every image of the data set"
        remedy = "Unpack the archive again, or open a subset with check_counts=False (--subset)."
        refuse(ValueError, index.name, invariant, "; ".join(problems), remedy)
    return index


def _wrong_counts(index: Index, counts: Counts) -> list[str]:
    found = Counter(item.split for item in index.items)
    pairs = {"classes": (len(index.classes), counts.classes)}
    pairs |= {f"{split} images": (found[split], getattr(counts, split)) for split in SPLITS}
    return [f"{have:,} {what} of {due:,}" for what, (have, due) in pairs.items() if have != due]


def _missing(index: Index) -> list[str]:
    """Paths without a file, in order. Each folder is listed once, which is fast on any disk."""
    present: dict[str, set[str]] = {}
    missing = []
    for item in index.items:
        folder, _, name = item.path.rpartition("/")
        if folder not in present:
            here = index.root / folder
            present[folder] = {p.name for p in here.iterdir()} if here.is_dir() else set()
        if name not in present[folder]:
            missing.append(item.path)
    return missing
