"""Stanford Cars, 196 makes and models.

The folder has either cars_train, cars_test and their annotations, or car_ims and cars_annos.mat.
Copies on Kaggle have the images in cars_train/cars_train and cars_test/cars_test.

References: Krause, Stark, Deng, Fei-Fei, "3D Object Representations for Fine-Grained
Categorization", 3dRR-13, 2013.
"""

from pathlib import Path
from typing import Any

import numpy as np

from .annotations import LARGEST_BOX, Annotations, Row
from .index import Counts, Index, Item, Split, check_complete
from .matlab import read_variable

NAME = "Stanford Cars"
COUNTS = Counts(classes=196, train=8144, validation=0, test=8041)
COMBINED = "cars_annos.mat"
META, TRAIN, TEST = FILES = (
    "cars_meta.mat",
    "cars_train_annos.mat",
    "cars_test_annos_withlabels.mat",
)
_LABELS = f"{TEST} is a separate download of the data set: cars_test_annos.mat has no labels."
FOLDERS = ("", "devkit/", "car_devkit/devkit/")
"""Where these files may be."""
BOX = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2")
PIXELS = range(LARGEST_BOX)


def read_cars(root: Path, *, boxes: bool = False, check_counts: bool = True) -> Index:
    """Read the index of Stanford Cars with its official splits: 8,144 training, 8,041 test images.

    Args:
        root: the folder of the data set.
        boxes: crop every image to its bounding box.
        check_counts: compare the number of classes and images with the published numbers.

    Raises: ValueError that lists all missing files, or names the annotation file that cannot be
        read, or a contradictory annotation.
    """
    places = {
        name: [f"{f}{name}" for f in FOLDERS if (root / f / name).is_file()] for name in FILES
    }
    separate = (root / "cars_train").is_dir() and not (root / "car_ims").is_dir()
    if (root / COMBINED).is_file() and not separate:
        classes = _class_names(root, COMBINED)
        items = _items(root, COMBINED, "", None, len(classes), boxes)
    else:
        missing = [name for name in FILES if not places[name]]
        if TEST in missing:
            Annotations(NAME, root).require(missing, _LABELS)
        Annotations(NAME, root).require(missing)
        classes = _class_names(root, places[META][0])
        items = []
        splits: dict[str, Split] = {TRAIN: "train", TEST: "test"}
        for name, split in splits.items():
            folder = f"cars_{split}/"
            folder *= 1 + (root / folder / folder).is_dir()
            items += _items(root, places[name][0], folder, split, len(classes), boxes)
    index = Index(root, classes, tuple(items), NAME)
    return check_complete(index, COUNTS if check_counts else None)


def _class_names(root: Path, file: str) -> tuple[str, ...]:
    files, rows = Annotations(NAME, root), []
    for number, name in enumerate(read_variable(NAME, root / file, "class_names"), 1):
        place = f"class {number} of {root / file}"
        if not isinstance(name, str):
            files.refuse(f"{place} must be text", f"{name}")
        rows.append(Row(place, [name]))
    return tuple(files.classes(rows))


def _items(
    root: Path, file: str, folder: str, split: Split | None, classes: int, boxes: bool
) -> list[Item]:
    """The images of a file below `folder`; without `split` each annotation contains its own."""
    field = "fname" if split else "relative_im_path"
    names = [field, "class", *(["test"] if split is None else []), *(BOX if boxes else [])]
    files, items, paths = Annotations(NAME, root), [], {}
    for number, one in enumerate(read_variable(NAME, root / file, "annotations"), 1):
        place = f"annotation {number} of {root / file}"
        fields = one.keys() if isinstance(one, dict) else ()
        if missing := [name for name in names if name not in fields]:
            files.refuse(f"{place} must have the fields {', '.join(names)}", f"no {missing[0]}")
        path = files.image(place, f"{folder}{one[field]}")
        files.add(paths, path, Row(place, []))
        label = _integer(files, place, one, "class", range(1, classes + 1)) - 1
        test = split is None and _integer(files, place, one, "test", range(2))
        box = None
        if boxes:
            left, top, right, bottom = (_integer(files, place, one, n, PIXELS) for n in BOX)
            # pixels are counted from 1 and both ends are included
            box = files.check_box(place, (left - 1, top - 1, right, bottom))
        items.append(Item(path, label, split or ("test" if test else "train"), box))
    return items


def _integer(files: Annotations, place: str, one: dict[str, Any], name: str, values: range) -> int:
    """The integer in a field; MATLAB may store it as a floating-point number."""
    value = one[name]
    whole = isinstance(value, np.ndarray) and value.size == 1 and float(value[0]).is_integer()
    if not (whole and int(value[0]) in values):
        expected = f"an integer from {values.start} to {values.stop - 1}"
        files.refuse(f"{name} of {place} must be {expected}", f"{value}")
    return int(value[0])
