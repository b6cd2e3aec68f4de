"""The files that annotate a data set. Each error names the file and the line."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, NoReturn

from .._files import open_regular
from ..contract import refuse
from .index import Box, is_inside

LARGEST_BOX = 2**31


class Row(NamedTuple):
    """The words of a line; `place` names its file and number."""

    place: str
    words: list[str]


_UNPACK = "Unpack the archive again, including the annotations."


class Annotations(NamedTuple):
    """The text files that annotate a data set. Errors are ValueErrors that name file and line."""

    name: str
    root: Path

    def require(self, files: list[str], remedy: str = _UNPACK) -> None:
        """Raise one error that lists all missing files."""
        if missing := [file for file in files if not (self.root / file).is_file()]:
            received = f"a folder without {', '.join(missing)}"
            invariant = f"{self.root} must contain the annotation files"
            refuse(ValueError, self.name, invariant, received, remedy)

    def rows(self, file: str, columns: int) -> Iterator[Row]:
        """Split each line into so many words. The last word may contain spaces."""
        with open_regular(self.root / file) as stream:
            lines = stream.read().split(b"\n")
        for number, line in enumerate(lines, 1):
            place = f"line {number} of {self.root / file}"
            try:
                words = line.decode().split(maxsplit=columns - 1)
            except UnicodeDecodeError as error:
                self.refuse(f"{place} must be UTF-8 text", f"{error}")
            if words and len(words) < columns:
                self.refuse(f"{place} must have {columns} columns", repr(line.decode().strip()))
            if words:
                yield Row(place, [*words[:-1], words[-1].strip()])

    def table(self, file: str, columns: int = 2) -> dict[str, Row]:
        """Map the first word of each line to the line. Refuses a word that is used twice."""
        table: dict[str, Row] = {}
        for row in self.rows(file, columns):
            self.add(table, row.words[0], row)
        return table

    def add(self, table: dict[str, Row], key: str, row: Row) -> None:
        """Add a line to a table. Refuses a key that the table has."""
        if (other := table.setdefault(key, row)) is not row:
            self.refuse(f"{row.place} must not repeat {key!r}", f"also {other.place}")

    def classes(self, rows: Iterable[Row]) -> dict[str, int]:
        """Map the names of classes, the last words of the lines, to their labels."""
        names: dict[str, Row] = {}
        for row in rows:
            self.add(names, row.words[-1], row)
        return {name: label for label, name in enumerate(names)}

    def image(self, place: str, path: str) -> str:
        """Return the path of an image. Refuses a path outside the data set."""
        if not is_inside(path):
            self.refuse(f"{place} must name an image inside the data set", repr(path))
        return path

    def boxes(self, file: str, convert: Callable[..., Box]) -> dict[str, Box]:
        """Map each image to the box that `convert` makes of four numbers."""
        boxes: dict[str, Box] = {}
        for key, row in self.table(file, 5).items():
            try:
                numbers = [float(word) for word in row.words[1:]]
            except ValueError:
                numbers = [math.nan]
            if not all(abs(number) < LARGEST_BOX for number in numbers):
                self.refuse(f"{row.place} must have four numbers of pixels", f"{row.words[1:]}")
            boxes[key] = self.check_box(row.place, convert(*numbers))
        return boxes

    def check_box(self, place: str, box: Box) -> Box:
        """Return a box. Refuses an empty one."""
        left, top, right, bottom = box
        if not (left < right and top < bottom):
            self.refuse(f"{place} must have a box with pixels in it", f"{box}")
        return box

    def box(self, boxes: Mapping[str, Box] | None, key: str, file: str) -> Box | None:
        """Return the box of an image; None if no boxes are used. Refuses a missing one."""
        if boxes is not None and key not in boxes:
            self.refuse(f"{self.root / file} must have a box of every image", f"none of {key}")
        return None if boxes is None else boxes[key]

    def refuse(self, invariant: str, received: str) -> NoReturn:
        refuse(ValueError, self.name, invariant, received, "Unpack the annotations again.")
