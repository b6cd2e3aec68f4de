"""FGVC-Aircraft 2013b, 100 variants of aircraft: the folder its archive unpacks to, or its data.

Source: Maji, Kannala, Rahtu, Blaschko, Vedaldi, "Fine-Grained Visual Classification of
Aircraft", arXiv:1306.5151, 2013.
"""

from pathlib import Path
from typing import Literal

from ..contract import refuse
from .index import (
    Box,
    Counts,
    Index,
    Item,
    Split,
    checked,
    read_boxes,
    read_rows,
    refuse_line,
    require_files,
)

NAME = "FGVC-Aircraft"
Level = Literal["variant", "family", "manufacturer"]
CLASSES = {  # level -> the file of its names, and how many they are
    "variant": ("variants.txt", 100),
    "family": ("families.txt", 70),
    "manufacturer": ("manufacturers.txt", 30),
}
PARTS: dict[str, Split] = {"train": "train", "val": "validation", "test": "test"}
BOXES = "images_box.txt"
BANNER = 20
"""Rows at the bottom of every image that name its photographer; the authors ask to remove them."""


def read_aircraft(
    root: Path, *, level: Level = "variant", boxes: bool = False, check_counts: bool = True
) -> Index:
    """The index of FGVC-Aircraft with its official split: 3,334, 3,333 and 3,333 images.

    `level` says what a class is: one of 100 variants, 70 families or 30 manufacturers. `boxes`
    cuts every image to its bounding box; the authors allow that in training only.

    Raises: ValueError with all that is missing, or that names the file and the image where
        annotations contradict each other.
    """
    if level not in CLASSES:
        invariant = f"level must be one of {', '.join(CLASSES)}"
        refuse(ValueError, NAME, invariant, repr(level), "The default is variant.")
    root = root / "data" if (root / "data").is_dir() else root
    names, number = CLASSES[level]
    files: dict[str, Split] = {f"images_{level}_{part}.txt": split for part, split in PARTS.items()}
    require_files(NAME, root, [names, *files, BOXES] if boxes else [names, *files])
    classes = tuple(line for (line,) in read_rows(NAME, root / names, 1))
    order = {name: label for label, name in enumerate(classes)}
    cut: dict[str, Box] = {}
    for key, numbers in read_boxes(NAME, root / BOXES).items() if boxes else ():
        left, top, right, bottom = (int(number) for number in numbers)
        cut[key] = left - 1, top - 1, right, bottom  # they count from 1, ends included
    items = []
    for file, split in files.items():
        for key, name in read_rows(NAME, root / file, 2):
            if name not in order:
                received = f"{name!r} for image {key}"
                refuse_line(NAME, f"{root / file} must have classes of {names}", received)
            items.append(Item(f"images/{key}.jpg", order[name], split, cut.get(key), BANNER))
    index = Index(root, classes, tuple(items), NAME)
    return checked(index, Counts(number, 3334, 3333, 3333) if check_counts else None)
