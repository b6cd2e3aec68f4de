"""CUB-200-2011, birds of 200 species: the unpacked folder CUB_200_2011.

References: Wah, Branson, Welinder, Perona, Belongie, "The Caltech-UCSD Birds-200-2011 Dataset",
Technical Report CNS-TR-2011-001, Caltech, 2011.
"""

import math
from pathlib import Path

from .index import Annotations, Box, Counts, Index, Item, Split, check_complete

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
    files = Annotations(NAME, root)
    files.require([*FILES, BOXES] if boxes else FILES)
    images, labels, training, names = (dict(files.rows(file, 2)) for file in FILES)
    order = {key: label for label, key in enumerate(names)}
    crops: dict[str, Box] = {}
    for key, (x, y, width, height) in files.boxes(BOXES).items() if boxes else ():
        crops[key] = math.floor(x), math.floor(y), math.ceil(x + width), math.ceil(y + height)
    items = []
    for key, path in images.items():
        label, trains = labels.get(key), training.get(key)
        if label not in order or trains not in ("0", "1"):
            received = f"class {label}, training {trains} for image {key}"
            files.refuse(f"{root} must give each image a class and a split", received)
        split: Split = "train" if trains == "1" else "test"
        items.append(Item(f"images/{path}", order[labels[key]], split, crops.get(key)))
    index = Index(root, tuple(names.values()), tuple(items), NAME)
    return check_complete(index, COUNTS if check_counts else None)
