"""A folder with one subfolder per class, or with train, val and test folders of that form.

    photos/finch/1.jpg, photos/wren/2.jpg                       only training images
    photos/train/finch/1.jpg, photos/val/finch/3.jpg, photos/test/wren/4.jpg

Classes are sorted by name, as in torchvision's ImageFolder. Images may be at any depth below a
class folder. Hidden files and folders are ignored.
"""

import os
from pathlib import Path

from ..contract import refuse
from .index import Index, Item, Split

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm"})
SPLIT_NAMES: dict[str, Split] = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}


def read_folder(root: Path, *, check_counts: bool = True) -> Index:
    """Read the index of a folder of class folders.

    The subfolders are splits if there is a folder train, either with val, valid, validation or
    test beside it, or as the only subfolder. Other folders beside splits, such as a training run,
    are ignored. Without splits, every subfolder is a class and every image is a training image.

    Raises: ValueError that names the folder if it has no class folders; if a folder beside splits
        has subfolders with the same class names and images, since it may be a misnamed split; and,
        with `check_counts`, if a class has no training image.
    """
    top = _folders(root)
    splits = [name for name in top if name in SPLIT_NAMES]
    sources: dict[str, Split] = {"": "train"}
    if "train" in splits and (len(splits) > 1 or top == splits):
        sources = {f"{name}/": SPLIT_NAMES[name] for name in splits}
    classes = sorted({name for prefix in sources for name in _folders(root / prefix)})
    if "" not in sources:
        others = [name for name in top if name not in splits]
        if misnamed := [n for n in others if any(image_files(root, f"{n}/{c}") for c in classes)]:
            invariant = f"splits in {root} must be named {', '.join(SPLIT_NAMES)}"
            remedy = "Rename the folder if it is a split, or move it elsewhere."
            refuse(ValueError, "folder", invariant, ", ".join(misnamed), remedy)
    items = tuple(
        Item(path, label, split)
        for prefix, split in sources.items()
        for label, name in enumerate(classes)
        for path in image_files(root, f"{prefix}{name}")
    )
    trained = {item.label for item in items if item.split == "train"}
    empty = [name for label, name in enumerate(classes) if label not in trained]
    if not trained or (empty and check_counts):
        folder = root if "" in sources else root / "train"
        invariant = f"{folder} must have class folders with training images"
        received = f"none in {', '.join(empty)}" if empty else "no subfolder"
        remedy = "For CUB, Cars or Aircraft, name the folder with the annotation files."
        refuse(ValueError, "folder", invariant, received, remedy)
    return Index(root, tuple(classes), items, "folder")


def _folders(root: Path) -> list[str]:
    return sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))


def is_image(name: str) -> bool:
    """Whether a file name has the suffix of an image and is not hidden."""
    return not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES


def image_files(root: Path, folder: str = "") -> list[str]:
    """The images at any depth below `folder`: sorted paths relative to `root`."""
    found = []
    for parent, folders, names in os.walk(root / folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths = (Path(parent, name) for name in names if is_image(name))
        found += [p.relative_to(root).as_posix() for p in paths]
    return sorted(found)
