"""Stanford Cars, 196 makes and models: the folder with cars_train, cars_test and devkit, or with
car_ims and cars_annos.mat.

Source: Krause, Stark, Deng, Fei-Fei, "3D Object Representations for Fine-Grained
Categorization", 3dRR-13, 2013.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from .._require import require_packages
from ..contract import message
from .index import Counts, Index, Item, Split, checked, require_files

NAME = "Stanford Cars"
COUNTS = Counts(classes=196, train=8144, validation=0, test=8041)
COMBINED = "cars_annos.mat"
META, TRAIN = "devkit/cars_meta.mat", "devkit/cars_train_annos.mat"
TEST = "cars_test_annos_withlabels.mat"
"""In the folder itself, where it is downloaded to, or in devkit. The devkit's own
cars_test_annos.mat has no labels."""


def read_cars(root: Path, *, boxes: bool = False, check_counts: bool = True) -> Index:
    """The index of Stanford Cars with its official split: 8,144 images to train on, 8,041 to test.

    `boxes` cuts every image to its bounding box. Needs SciPy, which reads the annotations.

    Raises: ValueError with all that is missing, or that names the annotation file that cannot be
        read; ImportError without SciPy.
    """
    if (root / COMBINED).is_file():
        names = _variable(root / COMBINED, "class_names")
        items = _items(root / COMBINED, "relative_im_path", "", None, boxes)
    else:
        test = f"devkit/{TEST}" if (root / "devkit" / TEST).is_file() else TEST
        require_files(NAME, root, [META, TRAIN, test])
        names = _variable(root / META, "class_names")
        items = _items(root / TRAIN, "fname", "cars_train/", "train", boxes)
        items += _items(root / test, "fname", "cars_test/", "test", boxes)
    index = Index(root, tuple(str(name) for name in names), tuple(items), NAME)
    return checked(index, COUNTS if check_counts else None)


def _items(file: Path, field: str, folder: str, split: Split | None, boxes: bool) -> list[Item]:
    """`field` holds the path below `folder`; without a `split` there is one in each annotation."""
    items = []
    for one in _variable(file, "annotations"):
        with _readable(file):
            left, top, right, bottom = (int(one[f"bbox_{end}"]) for end in ("x1", "y1", "x2", "y2"))
            box = (left - 1, top - 1, right, bottom)  # they count from 1, ends included
            part: Split = split or ("test" if one["test"] else "train")
            path, label = f"{folder}{one[field]}", int(one["class"]) - 1
        items.append(Item(path, label, part, box if boxes else None))
    return items


def _variable(file: Path, name: str) -> np.ndarray:
    require_packages(f"{NAME} ({__name__})", ("scipy",), "cli")
    from scipy.io import loadmat  # noqa: PLC0415 (only this format needs it)

    with _readable(file):
        return np.atleast_1d(loadmat(file, squeeze_me=True, variable_names=[name])[name])


@contextmanager
def _readable(file: Path) -> Iterator[None]:
    """Whatever a damaged file makes SciPy raise becomes one ValueError that names it."""
    try:
        yield
    except Exception as error:
        invariant = f"{file} must be the MATLAB file of the data set"
        remedy = "Unpack or download the annotations again."
        received = f"{type(error).__name__}: {error}"
        raise ValueError(message(NAME, invariant, received, remedy)) from error
