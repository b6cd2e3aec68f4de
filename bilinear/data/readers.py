"""The readers of all layouts, and detection of the layout from annotation files."""

import os
from inspect import signature
from pathlib import Path

from ..contract import refuse
from .aircraft import read_aircraft
from .cars import FILES, FOLDERS, read_cars
from .cub import read_cub
from .folder import read_folder
from .index import Index
from .listing import list_folder
from .webdataset import has_shards, read_webdataset

READERS = {
    "cub": read_cub,
    "aircraft": read_aircraft,
    "cars": read_cars,
    "folder": read_folder,
    "webdataset": read_webdataset,
}

_MARKERS = {  # one file is enough, so that an incompletely unpacked archive is recognized too
    "cub": ("images.txt", "image_class_labels.txt", "train_test_split.txt"),
    "aircraft": ("data/variants.txt", "variants.txt", "data/images_box.txt", "images_box.txt"),
    "cars": ("cars_annos.mat", *(f"{folder}{file}" for folder in FOLDERS for file in FILES)),
}


def open_dataset(path: str | os.PathLike, kind: str | None = None, **options) -> Index:
    """Open the data set in a folder and return its index with the official splits.

    Args:
        path: the folder of the data set.
        kind: the layout: ``"cub"``, ``"aircraft"``, ``"cars"``, ``"folder"`` (one folder per
            class) or ``"webdataset"`` (tar archives). Default None: detected from the files.
        options: arguments of the reader. ``check_counts=False`` accepts fewer images or classes
            than published. ``boxes=True`` crops every image to its bounding box (CUB, Cars,
            Aircraft). ``level="family"`` or ``"manufacturer"`` selects the classes of Aircraft.

    Raises: one ValueError that lists everything that is missing, or for an option that the data
        set does not have; NotADirectoryError if `path` is not a folder.
    """
    root = Path(path)
    if not os.fspath(path) or not root.is_dir():
        name = os.fspath(path) or "an empty name"
        raise NotADirectoryError(f"open_dataset: {name} is not a folder")
    if kind is None and (kind := _detect(root)) is None:
        kind = "webdataset" if has_shards(root) else "folder"
        if inner := [name for name in sorted(list_folder(root)[0]) if _detect(root / name)]:
            invariant = f"{root} must be the folder of one data set"
            received = f"a folder that contains {', '.join(inner[:5])}"
            remedy = "Pass the inner folder, or kind='folder' (--kind folder)."
            refuse(ValueError, "open_dataset", invariant, received, remedy)
    if kind not in READERS:
        invariant = f"kind must be one of {', '.join(READERS)}, or None"
        refuse(ValueError, "open_dataset", invariant, repr(kind), "None detects the layout.")
    reader = READERS[kind]
    if unknown := [name for name in options if name not in signature(reader).parameters]:
        invariant = f"options of {kind} must be {', '.join([*signature(reader).parameters][1:])}"
        remedy = "Leave out options that this data set does not have."
        refuse(ValueError, f"open_dataset {root}", invariant, ", ".join(unknown), remedy)
    return reader(root, **options)


def _detect(root: Path) -> str | None:
    """The layout of the annotation files in a folder."""
    present = (k for k, files in _MARKERS.items() if any((root / f).is_file() for f in files))
    return next(present, None)
