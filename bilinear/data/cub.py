"""CUB-200-2011, birds of 200 species: the folder CUB_200_2011 as its archive unpacks it.

Source: Wah, Branson, Welinder, Perona, Belongie, "The Caltech-UCSD Birds-200-2011 Dataset",
Technical Report CNS-TR-2011-001, Caltech, 2011.
"""

import math
from pathlib import Path

from .index import (
    Box,
    Counts,
    Index,
    Item,
    checked,
    read_boxes,
    read_rows,
    refuse_line,
    require_files,
)

NAME = "CUB-200-2011"
COUNTS = Counts(classes=200, train=5994, validation=0, test=5794)
FILES = ["images.txt", "image_class_labels.txt", "train_test_split.txt", "classes.txt"]
BOXES = "bounding_boxes.txt"


def read_cub(root: Path, *, boxes: bool = False, check_counts: bool = True) -> Index:
    """The index of CUB-200-2011 with its official split: 5,994 images to train on, 5,794 to test.

    `boxes` cuts every image to its bounding box, widened to whole pixels; published accuracies
    of bilinear CNNs are without.

    Raises: ValueError with all that is missing, or that names the file and the image where
        annotations contradict each other.
    """
    require_files(NAME, root, [*FILES, BOXES] if boxes else FILES)
    images, labels, training = (dict(read_rows(NAME, root / file, 2)) for file in FILES[:3])
    names = dict(read_rows(NAME, root / "classes.txt", 2))
    order = {key: label for label, key in enumerate(names)}
    cut: dict[str, Box] = {}
    for key, (x, y, width, height) in read_boxes(NAME, root / BOXES).items() if boxes else ():
        cut[key] = math.floor(x), math.floor(y), math.ceil(x + width), math.ceil(y + height)
    for key in images:
        if labels.get(key) not in order or training.get(key) not in ("0", "1"):
            received = f"class {labels.get(key)}, training {training.get(key)} for image {key}"
            refuse_line(NAME, f"{root} must give each image a class and a part", received)
    items = tuple(
        Item(
            f"images/{path}",
            order[labels[key]],
            "train" if training[key] == "1" else "test",
            cut.get(key),
        )
        for key, path in images.items()
    )
    index = Index(root, tuple(names.values()), items, NAME)
    return checked(index, COUNTS if check_counts else None)
