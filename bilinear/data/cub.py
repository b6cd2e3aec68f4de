"""CUB-200-2011, birds of 200 species: the unpacked folder CUB_200_2011.

References: Wah, Branson, Welinder, Perona, Belongie, "The Caltech-UCSD Birds-200-2011 Dataset",
Technical Report CNS-TR-2011-001, Caltech, 2011.
"""

import math
from collections.abc import Container
from pathlib import Path

from .annotations import Annotations, Row
from .index import Box, Counts, Index, Item, Split, check_complete

NAME = "CUB-200-2011"
COUNTS = Counts(classes=200, train=5994, validation=0, test=5794)
FILES = ["images.txt", "image_class_labels.txt", "train_test_split.txt", "classes.txt"]
BOXES = "bounding_boxes.txt"


def read_cub(root: Path, *, boxes: bool = False, check_counts: bool = True) -> Index:
    """Read the index of CUB-200-2011 with its official splits: 5,994 training, 5,794 test images.

    Args:
        root: the folder of the data set.
        boxes: crop every image to its bounding box, extended to whole pixels. Published accuracies
            of bilinear CNNs are measured without boxes.
        check_counts: compare the number of classes and images with the published numbers.

    Raises: ValueError that lists all missing files, or names the file and the line of a
        contradictory annotation.
    """
    files = Annotations(NAME, root)
    files.require([*FILES, BOXES] if boxes else FILES)
    images, labels, training, names = (files.table(file) for file in FILES)
    classes = tuple(files.classes(names.values()))
    order = {key: label for label, key in enumerate(names)}
    crops = files.boxes(BOXES, _pixels) if boxes else None
    items, paths = [], {}
    for key, row in images.items():
        path = files.image(row.place, f"images/{row.words[1]}")
        files.add(paths, path, row)
        label = _value(files, labels, key, FILES[1], "class", order)
        trains = _value(files, training, key, FILES[2], "split", ("0", "1"))
        split: Split = "train" if trains == "1" else "test"
        items.append(Item(path, order[label], split, files.box(crops, key, BOXES)))
    index = Index(root, classes, tuple(items), NAME)
    return check_complete(index, COUNTS if check_counts else None)


def _value(
    files: Annotations, table: dict[str, Row], key: str, file: str, what: str, values: Container
) -> str:
    """The class or the split of an image, which must be among `values`."""
    row = table.get(key, Row(f"{files.root / file}", [key, "none"]))
    if row.words[1] not in values:
        files.refuse(f"{row.place} must give image {key} a known {what}", row.words[1])
    return row.words[1]


def _pixels(x: float, y: float, width: float, height: float) -> Box:
    return math.floor(x), math.floor(y), math.ceil(x + width), math.ceil(y + height)
