"""A folder with one subfolder per class, or with train, val and test folders of that form.

    photos/finch/1.jpg, photos/wren/2.jpg                       only training images
    photos/train/finch/1.jpg, photos/val/finch/3.jpg, photos/test/wren/4.jpg

Classes are sorted by name, as in torchvision's ImageFolder. Images may be at any depth below a
class folder. Hidden files and folders are ignored.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple, NoReturn

from ..contract import refuse
from .formats import is_image
from .index import Index, Item, Split
from .listing import list_files, list_folder, unique, warn_of_unused

SPLIT_NAMES: dict[str, Split] = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}
_SPLIT_WORD = re.compile(
    "(train(ing|val)?|val(id|idation)?|dev(elopment)?|eval(uation)?|test(ing)?)"
    "(set|data|images?|imgs?)?"
)
_WORD = re.compile("[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
RUN_FILES = ("recipe.json", "metrics.jsonl")
"""Files that every folder of a training run has."""


def read_folder(root: Path, *, check_counts: bool = True) -> Index:
    """Read the index of a folder of class folders.

    If train has class folders in it, the folders train, val, valid, validation and test are splits,
    and other folders beside them, such as a training run, are not used. Otherwise every subfolder
    is a class and every image is a training image. One warning counts the files that are not used.

    Raises: ValueError that names the folder if it has no class folders; if class folders have names
        of splits, or contain class folders or a training run; if a folder beside splits may be a
        misnamed split; if one image is in two classes or splits; and, with `check_counts`, if a
        class has no training image.
    """
    names, direct = list_folder(root)
    listed = {name: _list_parts(root, name) for name in sorted(names)}
    folders = _split_folders(root, listed) or [
        _Folder(name, name, "train", _merged(parts)) for name, parts in listed.items()
    ]
    classes = tuple(sorted({folder.name for folder in folders}))
    label = {name: k for k, name in enumerate(classes)}
    _check_classes(root, folders)
    items = tuple(
        Item(path, label[folder.name], folder.split)
        for folder in folders
        for path in sorted(filter(is_image, unique(folder.files)))
    )
    trained = {item.label for item in items if item.split == "train"}
    empty = [name for name in classes if label[name] not in trained]
    if not trained or (empty and check_counts):
        folder = root / "train" if folders and "/" in folders[0].path else root
        invariant = f"{folder} must have class folders with training images"
        received = f"none in {', '.join(empty)}" if empty else "no subfolder"
        remedy = "For CUB, Cars or Aircraft, pass the folder that contains the annotation files."
        refuse(ValueError, "folder", invariant, received, remedy)
    targets = dict(direct)
    for parts in listed.values():
        targets |= _merged(parts)
    _check_links(root, items, targets)
    warn_of_unused(root, unique(targets), [item.path for item in items])
    return Index(root, classes, items, "folder")


Files = dict[str, str]
"""Path below the root -> real path."""


class _Folder(NamedTuple):
    """The folder of a class, or the part of a class in one split."""

    path: str
    name: str
    split: Split
    files: Files

    @property
    def counts(self) -> Counter[str]:
        """The number of images directly in the folder (key "") and in each of its subfolders."""
        start = len(self.path) + 1
        rests = (path[start:].split("/") for path in self.files if is_image(path))
        return Counter(rest[0] if len(rest) > 1 else "" for rest in rests)


def _list_parts(root: Path, folder: str) -> dict[str, Files]:
    """The files directly in a folder (key "") and below each of its subfolders."""
    names, direct = list_folder(root, folder)
    return {"": direct} | {name: list_files(root, f"{folder}/{name}") for name in names}


def _merged(parts: Mapping[str, Files]) -> Files:
    return {path: real for files in parts.values() for path, real in files.items()}


def _is_nested(counts: Counter[str]) -> bool:
    """Whether most images of a folder are in its subfolders."""
    return counts.total() > 2 * counts[""]


def _split_folders(root: Path, listed: Mapping[str, dict[str, Files]]) -> list[_Folder]:
    """The class folders in splits; none if train has no class folders in it."""
    counts = {n: _Folder(n, n, "train", _merged(parts)).counts for n, parts in listed.items()}
    nested = [name for name in listed if _is_nested(counts[name])]
    if "train" not in nested:
        return []
    splits = [name for name in nested if name in SPLIT_NAMES]
    folders = [
        _Folder(f"{split}/{name}", name, SPLIT_NAMES[split], listed[split][name])
        for split in splits
        for name in sorted(listed[split])
        if name
    ]
    classes = {folder.name for folder in folders}
    beside = [name for name in listed if counts[name] and name not in splits]
    alike = [name for name in beside if _other_words(name) is not None]
    misnamed = [n for n in beside if classes & counts[n].keys() or (n in alike and n in nested)]
    if misnamed:
        invariant = f"splits in {root} must be named {', '.join(SPLIT_NAMES)}"
        remedy = "Rename the folder if it is a split, or move it elsewhere."
        refuse(ValueError, "folder", invariant, ", ".join(misnamed), remedy)
    unclear = [n for n in beside if n not in alike and not is_run(n, listed[n][""])]
    if splits == ["train"] and unclear:  # train may be a class
        received = f"train with folders in it, beside images in {_listed(unclear)}"
        remedy = "Move them elsewhere, or, if train is a class, put its images directly into it."
        _refuse_classes(root, received, remedy)
    return folders


def is_run(folder: str, files: Files) -> bool:
    """Return whether these are the files of a training run."""
    return all(f"{folder}/{file}" in files for file in RUN_FILES)


def _words(name: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(name)]


def split_words(name: str) -> list[str]:
    """Return the words of a name that look like the name of a split, in lower case."""
    return [word for word in _words(name) if _SPLIT_WORD.fullmatch(word)]


def _other_words(name: str) -> tuple[str, ...] | None:
    """The words of a folder name beside the name of a split; None if it has no such name."""
    words = split_words(name)
    return tuple(word for word in _words(name) if word not in words) if words else None


def _named_like_splits(names: Iterable[str]) -> list[str]:
    """Names that look like splits of one data set: train and Test, cars_train and cars_test."""
    names, alike = list(names), defaultdict(list)
    for name in names:
        if (words := _other_words(name)) is not None:
            alike[words].append(name)
    all_of_them = sum(map(len, alike.values())) == len(names)
    return [n for group in alike.values() if all_of_them or len(group) > 1 for n in group]


def _check_classes(root: Path, folders: Iterable[_Folder]) -> None:
    """Refuse class folders that are splits or runs, or that contain class folders themselves."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for folder in folders:
        found[folder.name] += folder.counts
        if is_run(folder.path, folder.files):
            received = f"the folder of a training run, {folder.path}"
            _refuse_classes(root, received, "Move the run elsewhere.")
    classes = {name: counts for name, counts in found.items() if counts}
    nested = [name for name, counts in classes.items() if _is_nested(counts)]
    splits = {*_named_like_splits(classes), *(n for n in nested if _other_words(n) is not None)}
    if splits:
        remedy = (
            "Rename splits to train, val and test, and put one folder for each class into each. "
            "Rename classes that only look like splits. "
            "For CUB, Cars or Aircraft, pass the folder that contains the annotation files."
        )
        _refuse_classes(root, f"folders named like splits: {_listed(splits)}", remedy)
    remedy = (
        "Pass the folder that contains the class folders. If these folders are the classes, put "
        "their images directly into them."
    )
    if inner := [name for name in nested if _named_like_splits(filter(None, classes[name]))]:
        _refuse_classes(root, f"folders with splits in them: {_listed(inner)}", remedy)
    if classes and not any(counts[""] for counts in classes.values()):
        owners = Counter(folder for counts in classes.values() for folder in counts)
        shared = [name for name, count in owners.items() if count > 1 or len(classes) == 1]
        if shared:
            received = f"{_listed(classes)} with images only in the subfolders {_listed(shared)}"
            _refuse_classes(root, received, remedy)


def _refuse_classes(root: Path, received: str, remedy: str) -> NoReturn:
    invariant = f"{root} must have one folder of images for each class"
    refuse(ValueError, "folder", invariant, received, remedy)


def _listed(names: Iterable[str]) -> str:
    first = sorted(names)
    return ", ".join(first[:5]) + (", …" if len(first) > 5 else "")


def _check_links(root: Path, items: Iterable[Item], real: Mapping[str, str]) -> None:
    """Refuse an image that links put into two classes or splits."""
    first: dict[str, Item] = {}
    for item in items:
        other = first.setdefault(real[item.path], item)
        if other[1:3] != item[1:3]:
            invariant = f"an image in {root} must be in one class and one split only"
            received = f"one file named {other.path} and {item.path}"
            refuse(ValueError, "folder", invariant, received, "Remove one of the links.")
