"""CUB-200-2011, birds of 200 species: the unpacked folder CUB_200_2011.

References: Wah, Branson, Welinder, Perona, Belongie, "The Caltech-UCSD Birds-200-2011 Dataset",
Technical Report CNS-TR-2011-001, Caltech, 2011.
"""

import math
from pathlib import Path

from .index import (
    Box,
    Counts,
    Index,
    Item,
    check_complete,
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
    """Read the index of CUB-200-2011 with its official splits: 5,994 training, 5,794 test images.

    Args:
        root: the folder of the data set.
        boxes: crop every image to its bounding box, extended to whole pixels. Published accuracies
            of bilinear CNNs are measured without boxes.
        check_counts: compare the number of classes and images with the published numbers.

    Raises: ValueError that lists all missing files, or names the file and the image with
        contradictory annotations.
    """
    require_files(NAME, root, [*FILES, BOXES] if boxes else FILES)
    images, labels, training = (dict(read_rows(NAME, root / file, 2)) for file in FILES[:3])
    names = dict(read_rows(NAME, root / "classes.txt", 2))
    order = {key: label for label, key in enumerate(names)}
    crops: dict[str, Box] = {}
    for key, (x, y, width, height) in read_boxes(NAME, root / BOXES).items() if boxes else ():
        crops[key] = math.floor(x), math.floor(y), math.ceil(x + width), math.ceil(y + height)
    for key in images:
        if labels.get(key) not in order or training.get(key) not in ("0", "1"):
            received = f"class {labels.get(key)}, training {training.get(key)} for image {key}"
            refuse_line(NAME, f"{root} must give each image a class and a split", received)
    items = tuple(
        Item(
            f"images/{path}",
            order[labels[key]],
            "train" if training[key] == "1" else "test",
            crops.get(key),
        )
        for key, path in images.items()
    )
    index = Index(root, tuple(names.values()), items, NAME)
    return check_complete(index, COUNTS if check_counts else None)
