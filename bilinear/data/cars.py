"""Stanford Cars, 196 makes and models.

The folder has either cars_train, cars_test and devkit, or car_ims and cars_annos.mat.

References: Krause, Stark, Deng, Fei-Fei, "3D Object Representations for Fine-Grained
Categorization", 3dRR-13, 2013.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from .._require import require_packages
from ..contract import message
from .index import Annotations, Counts, Index, Item, Split, check_complete

NAME = "Stanford Cars"
COUNTS = Counts(classes=196, train=8144, validation=0, test=8041)
COMBINED = "cars_annos.mat"
META, TRAIN = "devkit/cars_meta.mat", "devkit/cars_train_annos.mat"
TEST = "cars_test_annos_withlabels.mat"
"""In the folder itself or in devkit. The file cars_test_annos.mat in devkit has no labels."""


def read_cars(root: Path, *, boxes: bool = False, check_counts: bool = True) -> Index:
    """Read the index of Stanford Cars with its official splits: 8,144 training, 8,041 test images.

    SciPy is required to read the annotations.

    Args:
        root: the folder of the data set.
        boxes: crop every image to its bounding box.
        check_counts: compare the number of classes and images with the published numbers.

    Raises: ValueError that lists all missing files, or names the annotation file that cannot be
        read; ImportError if SciPy is not installed.
    """
    if (root / COMBINED).is_file():
        names = _variable(root / COMBINED, "class_names")
        items = _items(root / COMBINED, "relative_im_path", "", None, boxes)
    else:
        test = f"devkit/{TEST}" if (root / "devkit" / TEST).is_file() else TEST
        Annotations(NAME, root).require([META, TRAIN, test])
        names = _variable(root / META, "class_names")
        items = _items(root / TRAIN, "fname", "cars_train/", "train", boxes)
        items += _items(root / test, "fname", "cars_test/", "test", boxes)
    index = Index(root, tuple(str(name) for name in names), tuple(items), NAME)
    return check_complete(index, COUNTS if check_counts else None)


def _items(file: Path, field: str, folder: str, split: Split | None, boxes: bool) -> list[Item]:
    """`field` has the path below `folder`; without `split` each annotation contains its own."""
    items = []
    for one in _variable(file, "annotations"):
        with _name_in_errors(file):
            left, top, right, bottom = (int(one[f"bbox_{end}"]) for end in ("x1", "y1", "x2", "y2"))
            # pixels are counted from 1 and both ends are included
            box = (left - 1, top - 1, right, bottom)
            own_split: Split = split or ("test" if one["test"] else "train")
            path, label = f"{folder}{one[field]}", int(one["class"]) - 1
        items.append(Item(path, label, own_split, box if boxes else None))
    return items


def _variable(file: Path, name: str) -> np.ndarray:
    require_packages(f"{NAME} ({__name__})", ("scipy",), "cli")
    from scipy.io import loadmat  # noqa: PLC0415 (only this format needs it)

    with _name_in_errors(file):
        return np.atleast_1d(loadmat(file, squeeze_me=True, variable_names=[name])[name])


@contextmanager
def _name_in_errors(file: Path) -> Iterator[None]:
    """Convert any error that SciPy raises for a damaged file to a ValueError that names it."""
    try:
        yield
    except Exception as error:
        invariant = f"{file} must be the annotation file of the data set in MATLAB format"
        remedy = "Unpack or download the annotations again."
        received = f"{type(error).__name__}: {error}"
        raise ValueError(message(NAME, invariant, received, remedy)) from error
