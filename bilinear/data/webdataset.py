"""WebDataset shards: tar archives in which an image and its label have the same name.

    train-0000.tar: 0001.jpg, 0001.cls, 0002.jpg, 0002.cls    test-0000.tar: …    classnames.txt

An archive that is not compressed has its members as they are, so each image is read alone and in
any order. Nothing is unpacked.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple, NoReturn

from .._files import read_regular
from ..contract import refuse
from .archives import list_members, member_path
from .folder import SPLIT_NAMES, is_run, split_words
from .formats import is_image
from .index import ARCHIVE, Index, Item, Split
from .listing import list_files, walk, warn_of_unused

NAMES = "classnames.txt"
_LABEL = "cls"
_LARGEST_LABEL = 999_999
_KEY = re.compile(r"((?:.*/)?[^./]+)\.([^/]+)", re.DOTALL)
"""The name of a sample, up to the first dot of the file name, and the rest."""


def read_webdataset(root: Path, *, check_counts: bool = True) -> Index:
    """Read the index of a folder of WebDataset shards, at any depth.

    A sample is an image and its label, a decimal number in a file ``.cls``; its other files are not
    used. The path of an image is that of its shard and its name in the shard:
    ``train-0000.tar/0001.jpg``. The names of the classes are the lines of ``classnames.txt``;
    without it they are the numbers. A shard is in the split that the words of its path name, as
    ``train``, ``val``, ``valid``, ``validation`` or ``test``; if no path does, all images are
    training images.

    Raises: ValueError that names the shard or the image if there is no shard; if a shard is
        damaged, or its split is not clear; if an image has no label, or a sample several images;
        and, with `check_counts`, if a class has no training image.
    """
    files = list_files(root)
    shards = [path for path in files if path.endswith(ARCHIVE)]
    if not shards or any(f"{ARCHIVE}/" in path for path in shards):
        received = "none" if not shards else "shards in a folder with this suffix"
        invariant = f"{root} must have shards, files with the suffix {ARCHIVE}"
        _refuse(invariant, received, "Decompress .tar.gz files, and rename such folders.")
    splits = _splits(root, shards)
    items: list[Item] = []
    unused: list[str] = []
    for shard in shards:
        for name, sample in _read_samples(root, shard).items():
            if sample.images:
                items.append(_item(root, shard, name, sample, splits[shard]))
            else:
                unused += sample.files
    warn_of_unused(root, files, [*shards, NAMES])
    warn_of_unused(root, unused, ())
    classes = _classes(root, items)
    trained = {item.label for item in items if item.split == "train"}
    empty = [name for label, name in enumerate(classes) if label not in trained]
    if not items or (empty and check_counts):
        shown = ", ".join(empty[:5]) + (", …" if len(empty) > 5 else "")
        received = f"none of {shown}" if items else "no image"
        accepted = "check_counts=False (--subset) accepts it."
        remedy = accepted if items else "Name images with the suffix of their format."
        _refuse(f"{root} must have training images of each class", received, remedy)
    return Index(root, classes, tuple(items), "webdataset")


def has_shards(root: Path) -> bool:
    """Return whether a folder has archives, and no images beside them, except of training runs."""
    found = False
    for folder, files in walk(root):
        if any(map(is_image, files)) and not is_run(folder, files):
            return False
        found = found or any(path.endswith(ARCHIVE) for path in files)
    return found


class _Sample(NamedTuple):
    """The files of one name in a shard: the images and their places, and the text of the label."""

    files: list[str]
    images: list[tuple[str, int]]
    labels: list[bytes]


def _read_samples(root: Path, shard: str) -> Mapping[str, _Sample]:
    """The samples of a shard by their names, in the order of the shard, without hidden files."""
    samples: dict[str, _Sample] = defaultdict(lambda: _Sample([], [], []))
    seen: set[str] = set()
    for member, archive in list_members(root / shard):
        path = f"{shard}/{member_path(member)}"
        if path in seen:
            _refuse(f"{root / shard} must have each name once", f"{member.name} twice")
        seen.add(path)
        if any(part.strip(".") and part[0] == "." for part in path.split("/")):
            continue
        match = _KEY.fullmatch(path)
        name, suffix = (match[1], match[2].lower()) if match else (path, "")
        sample = samples[name]
        sample.files.append(path)
        if suffix == _LABEL:
            archive.seek(member.offset_data)
            sample.labels.append(archive.read(min(member.size, 32)))
        elif "." not in suffix and is_image(path):
            sample.images.append((path, member.offset))
    return samples


def _item(root: Path, shard: str, name: str, sample: _Sample, split: Split) -> Item:
    """The image of a sample. Refuses several images, and a missing or damaged label."""
    (path, offset), *others = sample.images
    if others:
        remedy = "Their names are equal up to the first dot: rename one of them."
        _refuse(f"{root / name} must have one image", f"{path} and {others[0][0]}", remedy)
    match = re.fullmatch(rb"\s*(\d{1,6})\s*", sample.labels[0]) if sample.labels else None
    if match is None:
        received = f"{sample.labels[0]!r}" if sample.labels else "no such file"
        invariant = f"{root / name}.{_LABEL} must have a number from 0 to {_LARGEST_LABEL:,}"
        _refuse(invariant, received, f"It is the label of {path}.")
    return Item(path, int(match[1]), split, offset=offset)


def _splits(root: Path, shards: Iterable[str]) -> dict[str, Split]:
    """The split of each shard, from the words of its path."""
    words = {shard: split_words(shard) for shard in shards}
    if not any(words.values()):
        return dict.fromkeys(shards, "train")
    splits: dict[str, Split] = {}
    for shard, found in words.items():
        named: set[Split | None] = {SPLIT_NAMES.get(word) for word in found}
        split = named.pop() if len(named) == 1 else None
        if split is None:
            invariant = f"the path of each shard in {root} must name one split"
            _refuse(invariant, shard, f"Write it as one of {', '.join(SPLIT_NAMES)}.")
        splits[shard] = split
    return splits


def _classes(root: Path, items: Iterable[Item]) -> tuple[str, ...]:
    """The names of the classes, from the file of names or as numbers."""
    if not (root / NAMES).exists():
        return tuple(map(str, range(max((item.label for item in items), default=-1) + 1)))
    try:
        lines = read_regular(root / NAMES).decode("utf-8-sig").rstrip().split("\n")
    except UnicodeDecodeError as error:
        _refuse(f"{root / NAMES} must be UTF-8 text, with a class in each line", f"{error}")
    return tuple(line.strip() for line in lines)


def _refuse(invariant: str, received: str, remedy: str = "Write the shard again.") -> NoReturn:
    refuse(ValueError, "webdataset", invariant, received, remedy)
