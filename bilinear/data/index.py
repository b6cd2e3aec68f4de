"""What a data set holds, as plain data: its classes, its images, and the part of each.

index = open_dataset("CUB_200_2011")
index.classes, len(index.part("train")), index.checksum()
"""

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple, NoReturn, get_args

from ..contract import refuse

Split = Literal["train", "validation", "test"]
Box = tuple[int, int, int, int]

SPLITS: tuple[str, ...] = get_args(Split)


class Item(NamedTuple):
    """One image: its path below the root (with slashes), its class and its part.

    `box` is what is kept of it, (left, top, right, bottom) in pixels from the upper left corner,
    right and bottom excluded; what lies outside the image is cut off. Before that, `banner` rows
    are dropped at the bottom.
    """

    path: str
    label: int
    split: Split
    box: Box | None = None
    banner: int = 0


@dataclass(frozen=True)
class Index:
    """The images of a data set in a fixed order, which `Batch.indices` count from 0.

    `classes` are the names in the order of the labels; `root` is the folder the paths start
    from, and `name` is what errors call the data set.

    Raises: ValueError for a label without a class, an unknown part, or an image that is in two
        parts (a score on it would be a score on what was trained on).
    """

    root: Path
    classes: tuple[str, ...]
    items: tuple[Item, ...] = field(repr=False)
    name: str

    def __post_init__(self):
        parts: dict[str, str] = {}
        for path, label, split, *_ in self.items:
            if not 0 <= label < len(self.classes):
                invariant = f"labels must be from 0 to {len(self.classes) - 1}, one for each class"
                refuse(ValueError, self.name, invariant, f"{label} for {path}", "Correct it.")
            _check_split(self.name, split)
            if parts.setdefault(path, split) != split:
                received = f"{path} in {parts[path]} and in {split}"
                remedy = "Take it out of one of them."
                refuse(ValueError, self.name, "an image must be in one part only", received, remedy)

    def part(self, split: Split) -> tuple[Item, ...]:
        """The images of one part; the test part, too, is only given where it is asked for."""
        _check_split(self.name, split)
        return tuple(item for item in self.items if item.split == split)

    def checksum(self) -> str:
        """sha256 of classes and items, as JSON: equal for the same list below any root.

        It says that two runs use the same images in the same parts, not what is in the files.
        """
        listed = json.dumps([self.classes, self.items], separators=(",", ":"))
        return hashlib.sha256(listed.encode()).hexdigest()


def _check_split(op: str, split: object) -> None:
    if split not in SPLITS:
        remedy = "Choose one of them."
        refuse(ValueError, op, f"a part must be one of {', '.join(SPLITS)}", repr(split), remedy)


class Counts(NamedTuple):
    """How many classes a data set has, and how many images in each part."""

    classes: int
    train: int
    validation: int
    test: int


def checked(index: Index, counts: Counts | None) -> Index:
    """The index, once all its files are there and, where `counts` is given, all its images.

    Raises: one ValueError with everything that is missing.
    """
    problems = _miscounted(index, counts) if counts else []
    if missing := _missing(index):
        listed = f"{len(index.items):,} images are listed"
        problems.append(f"{listed}, {len(missing):,} are missing, the first {missing[0]}")
    if problems:
        invariant = f"{index.root} must have every image of the data set"
        remedy = "Unpack the archive again; a subset is opened with check_counts=False."
        refuse(ValueError, index.name, invariant, "; ".join(problems), remedy)
    return index


def _miscounted(index: Index, counts: Counts) -> list[str]:
    found = Counter(item.split for item in index.items)
    pairs = {"classes": (len(index.classes), counts.classes)}
    pairs |= {f"{split} images": (found[split], getattr(counts, split)) for split in SPLITS}
    return [f"{have:,} {what} of {due:,}" for what, (have, due) in pairs.items() if have != due]


def _missing(index: Index) -> list[str]:
    """Paths without a file, in order; each folder is listed once, which is quick on any disk."""
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


def require_files(name: str, root: Path, files: list[str]) -> None:
    """One ValueError that lists all annotation files that are missing."""
    if missing := [file for file in files if not (root / file).is_file()]:
        received = f"a folder without {', '.join(missing)}"
        remedy = "Unpack the archive again, annotations as well as images."
        refuse(ValueError, name, f"{root} must have its annotation files", received, remedy)


def read_rows(name: str, file: Path, columns: int) -> list[list[str]]:
    """The lines of a text file in `columns` words, the last of which may hold spaces.

    Raises: ValueError naming file and line for one with fewer.
    """
    rows = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        if line.strip():
            rows.append(line.strip().split(maxsplit=columns - 1))
            if len(rows[-1]) < columns:
                invariant = f"each line of {file} must have {columns} columns"
                refuse_line(name, invariant, f"{line!r} in line {number}")
    return rows


def read_boxes(name: str, file: Path) -> dict[str, tuple[float, ...]]:
    """Image -> the four numbers beside it."""
    boxes = {}
    for key, *words in read_rows(name, file, 5):
        try:
            boxes[key] = tuple(float(word) for word in words)
        except ValueError:
            refuse_line(name, f"{file} must give each image four numbers", f"{words} for {key}")
    return boxes


def refuse_line(name: str, invariant: str, received: str) -> NoReturn:
    """ValueError for annotations that contradict themselves."""
    refuse(ValueError, name, invariant, received, "Unpack the annotations again.")
