"""A folder of class folders, or of train, val and test with class folders in each.

    photos/finch/1.jpg, photos/wren/2.jpg                       all for training
    photos/train/finch/1.jpg, photos/val/finch/3.jpg, photos/test/wren/4.jpg

Classes are sorted by name, as torchvision's ImageFolder sorts them; images lie at any depth.
"""

import os
from pathlib import Path

from ..contract import refuse
from .index import Index, Item, Split

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm"})
PARTS: dict[str, Split] = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}


def read_folder(root: Path, *, check_counts: bool = True) -> Index:
    """The index of a folder of class folders.

    The subfolders are parts if one is called train and the others val, valid, validation or
    test; otherwise they are classes, and every image is for training. Hidden files are passed by.

    Raises: ValueError naming the folder for one without class folders, and, with
        `check_counts`, for classes without an image to train on.
    """
    top = _folders(root)
    sources: dict[str, Split] = {"": "train"}
    if "train" in top and {*top} <= {*PARTS}:
        sources = {f"{name}/": PARTS[name] for name in top}
    classes = sorted({name for prefix in sources for name in _folders(root / prefix)})
    items = tuple(
        Item(path, label, split)
        for prefix, split in sources.items()
        for label, name in enumerate(classes)
        for path in image_files(root, f"{prefix}{name}")
    )
    trained = {item.label for item in items if item.split == "train"}
    empty = [name for label, name in enumerate(classes) if label not in trained]
    if not trained or (empty and check_counts):
        invariant = f"{root} must hold class folders with images to train on"
        received = f"none in {', '.join(empty)}" if empty else "no folder in it"
        remedy = "A known data set is recognised by its annotation files in this very folder."
        refuse(ValueError, "folder", invariant, received, remedy)
    return Index(root, tuple(classes), items, "folder")


def _folders(root: Path) -> list[str]:
    return sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))


def image_files(root: Path, folder: str = "") -> list[str]:
    """The images in a folder below the root, at any depth, sorted: their paths below the root."""
    found = []
    for place, _, names in os.walk(root / folder, followlinks=True):
        paths = (Path(place, name) for name in names if not name.startswith("."))
        found += [p.relative_to(root).as_posix() for p in paths if p.suffix.lower() in SUFFIXES]
    return sorted(found)
