"""FGVC-Aircraft 2013b, 100 aircraft variants: the unpacked folder, or its subfolder ``data``.

References: Maji, Kannala, Rahtu, Blaschko, Vedaldi, "Fine-Grained Visual Classification of
Aircraft", arXiv:1306.5151, 2013.
"""

from pathlib import Path
from typing import Literal

from ..contract import refuse
from .annotations import Annotations
from .index import Box, Counts, Index, Item, Split, check_complete

NAME = "FGVC-Aircraft"
Level = Literal["variant", "family", "manufacturer"]
CLASSES = {  # level -> (file of class names, number of classes)
    "variant": ("variants.txt", 100),
    "family": ("families.txt", 70),
    "manufacturer": ("manufacturers.txt", 30),
}
SPLIT_NAMES: dict[str, Split] = {"train": "train", "val": "validation", "test": "test"}
BOXES = "images_box.txt"
BANNER = 20
"""Height of the copyright banner at the bottom of every image. The authors ask to remove it."""


def read_aircraft(
    root: Path, *, level: Level = "variant", boxes: bool = False, check_counts: bool = True
) -> Index:
    """Read the index of FGVC-Aircraft with its official splits.

    The training, validation and test splits have 3,334, 3,333 and 3,333 images.

    Args:
        root: the folder of the data set.
        level: the class level: 100 variants, 70 families or 30 manufacturers.
        boxes: crop every image to its bounding box. The authors allow this only for training.
        check_counts: compare the number of classes and images with the published numbers.

    Raises: ValueError that lists all missing files, or names the file and the line of a
        contradictory annotation.
    """
    if level not in CLASSES:
        invariant = f"level must be one of {', '.join(CLASSES)}"
        refuse(ValueError, NAME, invariant, repr(level), "The default is 'variant'.")
    root = root / "data" if (root / "data").is_dir() else root
    names, class_count = CLASSES[level]
    lists: dict[str, Split] = {
        f"images_{level}_{name}.txt": split for name, split in SPLIT_NAMES.items()
    }
    files = Annotations(NAME, root)
    files.require([names, *lists, BOXES] if boxes else [names, *lists])
    classes = files.classes(files.rows(names, 1))
    crops = files.boxes(BOXES, _pixels) if boxes else None
    items, listed = [], {}
    for file, split in lists.items():
        for row in files.rows(file, 2):
            key, name = row.words
            files.add(listed, key, row)
            path = files.image(row.place, f"images/{key}.jpg")
            if name not in classes:
                invariant = f"{row.place} must give image {key} a class listed in {names}"
                files.refuse(invariant, repr(name))
            items.append(Item(path, classes[name], split, files.box(crops, key, BOXES), BANNER))
    index = Index(root, tuple(classes), tuple(items), NAME)
    return check_complete(index, Counts(class_count, 3334, 3333, 3333) if check_counts else None)


def _pixels(left: float, top: float, right: float, bottom: float) -> Box:
    """Pixels are counted from 1 in the file, and both ends are included."""
    return int(left) - 1, int(top) - 1, int(right), int(bottom)
