"""A data set by its folder: which format it is in is seen from its annotation files."""

import os
from inspect import signature
from pathlib import Path

from ..contract import refuse
from .aircraft import read_aircraft
from .cars import read_cars
from .cub import read_cub
from .folder import read_folder
from .index import Index

READERS = {"cub": read_cub, "aircraft": read_aircraft, "cars": read_cars, "folder": read_folder}

_MARKS = {  # any of these is enough, so that what is half unpacked is known for what it is
    "cub": ("images.txt", "image_class_labels.txt", "train_test_split.txt"),
    "aircraft": ("data/variants.txt", "variants.txt", "data/images_box.txt", "images_box.txt"),
    "cars": ("cars_annos.mat", "devkit/cars_meta.mat", "devkit/cars_train_annos.mat"),
}


def open_dataset(path: str | os.PathLike, kind: str | None = None, **options) -> Index:
    """The index of the data set in a folder, with its official split.

    `kind` is ``"cub"``, ``"aircraft"``, ``"cars"`` or ``"folder"`` (class folders); None
    recognises it. `options` go to its reader: ``check_counts=False`` takes a subset, of a data
    set with fewer images or classes than it officially has; ``boxes=True`` cuts every image to
    its bounding box; ``level="family"`` is of Aircraft.

    Raises: ValueError, one, that says all that is missing (files that are listed, annotations,
        classes, images in a part), or for an option that the data set does not have;
        NotADirectoryError for a path that is no folder.
    """
    root = Path(path)
    if not root.is_dir():
        raise NotADirectoryError(f"open_dataset: {root} is not a folder")
    if kind is None:
        kind = _recognised(root)
    if kind not in READERS:
        invariant = f"kind must be one of {', '.join(READERS)}, or None"
        refuse(ValueError, "open_dataset", invariant, repr(kind), "None recognises it.")
    reader = READERS[kind]
    if unknown := [name for name in options if name not in signature(reader).parameters]:
        invariant = f"options of {kind} are {', '.join([*signature(reader).parameters][1:])}"
        remedy = "Leave out what this data set does not have."
        refuse(ValueError, f"open_dataset {root}", invariant, ", ".join(unknown), remedy)
    return reader(root, **options)


def _recognised(root: Path) -> str:
    for kind, marks in _MARKS.items():
        if any((root / mark).is_file() for mark in marks):
            return kind
    return "folder"
