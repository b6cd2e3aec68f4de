"""FGVC-Aircraft 2013b, 100 aircraft variants: the unpacked folder, or its subfolder ``data``.

References: Maji, Kannala, Rahtu, Blaschko, Vedaldi, "Fine-Grained Visual Classification of
Aircraft", arXiv:1306.5151, 2013.
"""

from pathlib import Path
from typing import Literal

from ..contract import refuse
from .index import Annotations, Box, Counts, Index, Item, Split, check_complete

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

    Raises: ValueError that lists all missing files, or names the file and the image with
        contradictory annotations.
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
    classes = tuple(line for (line,) in files.rows(names, 1))
    order = {name: label for label, name in enumerate(classes)}
    crops: dict[str, Box] = {}
    for key, values in files.boxes(BOXES).items() if boxes else ():
        left, top, right, bottom = (int(value) for value in values)
        # pixels are counted from 1 and both ends are included
        crops[key] = left - 1, top - 1, right, bottom
    items = []
    for file, split in lists.items():
        for key, name in files.rows(file, 2):
            if name not in order:
                received = f"{name!r} for image {key}"
                files.refuse(f"{root / file} must contain classes listed in {names}", received)
            items.append(Item(f"images/{key}.jpg", order[name], split, crops.get(key), BANNER))
    index = Index(root, classes, tuple(items), NAME)
    return check_complete(index, Counts(class_count, 3334, 3333, 3333) if check_counts else None)
