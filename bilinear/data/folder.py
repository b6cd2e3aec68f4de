"""A folder of class folders, or of train, val and test with class folders in each.

    photos/finch/1.jpg, photos/wren/2.jpg                       all for training
    photos/train/finch/1.jpg, photos/val/finch/3.jpg, photos/test/wren/4.jpg

Classes are sorted by name, as torchvision's ImageFolder sorts them; images lie at any depth.
Hidden files and folders are passed by.
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

    The subfolders are parts if there is a train with a val, valid, validation or test beside it,
    or alone. Whatever else lies beside parts, such as a run, is passed by, unless it looks like a
    part of another name. Otherwise subfolders are classes, and every image is for training.

    Raises: ValueError naming the folder for one without class folders, for one beside parts with
        images in folders of their classes, and, with `check_counts`, for classes without an image
        to train on.
    """
    top = _folders(root)
    parts = [name for name in top if name in PARTS]
    sources: dict[str, Split] = {"": "train"}
    if "train" in parts and (len(parts) > 1 or top == parts):
        sources = {f"{name}/": PARTS[name] for name in parts}
    classes = sorted({name for prefix in sources for name in _folders(root / prefix)})
    if "" not in sources:
        _check_siblings(root, [name for name in top if name not in parts], classes)
    items = tuple(
        Item(path, label, split)
        for prefix, split in sources.items()
        for label, name in enumerate(classes)
        for path in image_files(root, f"{prefix}{name}")
    )
    trained = {item.label for item in items if item.split == "train"}
    empty = [name for label, name in enumerate(classes) if label not in trained]
    if not trained or (empty and check_counts):
        place = root if "" in sources else root / "train"
        invariant = f"{place} must hold class folders with images to train on"
        received = f"none in {', '.join(empty)}" if empty else "no folder in it"
        remedy = "A known data set is recognised by its annotation files in this very folder."
        refuse(ValueError, "folder", invariant, received, remedy)
    return Index(root, tuple(classes), items, "folder")


def _check_siblings(root: Path, siblings: list[str], classes: list[str]) -> None:
    """Images of these classes in a folder that is no part would be left out without a word."""
    held = [name for name in siblings if any(image_files(root, f"{name}/{c}") for c in classes)]
    if held:
        invariant = f"folders of class folders in {root} must be named {', '.join(PARTS)}"
        remedy = "Rename a part; move what is none elsewhere."
        refuse(ValueError, "folder", invariant, ", ".join(held), remedy)


def _folders(root: Path) -> list[str]:
    return sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))


def is_image(name: str) -> bool:
    """Whether a file of this name is taken for an image, which a hidden one is not."""
    return not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES


def image_files(root: Path, folder: str = "") -> list[str]:
    """The images in a folder below the root, at any depth, sorted: their paths below the root."""
    found = []
    for place, folders, names in os.walk(root / folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths = (Path(place, name) for name in names if is_image(name))
        found += [p.relative_to(root).as_posix() for p in paths]
    return sorted(found)
