"""Lists of the files below a folder."""

import os
import warnings
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

from .formats import is_image


def list_folder(root: Path, folder: str = "") -> tuple[list[str], dict[str, str]]:
    """List a folder without its hidden entries and without links to the folders it is in.

    Returns: the sorted names of its subfolders, links last; and {path below `root`: real path} of
        its other entries, sorted.
    """
    real = os.path.realpath(root / folder)
    with os.scandir(root / folder) as listed:
        entries = sorted((e for e in listed if e.name[0] != "."), key=lambda e: e.name)
    folders, files = [], {}
    for entry in entries:
        link = entry.is_symlink()
        target = os.path.realpath(entry.path) if link else os.path.join(real, entry.name)
        if _is_folder(entry):
            if not os.path.join(real, "").startswith(os.path.join(target, "")):
                folders.append(entry)
        else:
            files[f"{folder}/{entry.name}" if folder else entry.name] = target
    return [entry.name for entry in sorted(folders, key=os.DirEntry.is_symlink)], files


def walk(root: Path, folder: str = "") -> Iterator[tuple[str, dict[str, str]]]:
    """Yield each visible folder at any depth below a folder, and its files as `list_folder` does.

    Symbolic links are followed, but no folder is visited twice.

    Raises: OSError that names a folder that cannot be listed.
    """
    visited: set[str] = set()
    pending = [folder]
    while pending:
        parent = pending.pop()
        if (real := os.path.realpath(root / parent)) in visited:
            continue
        visited.add(real)
        folders, files = list_folder(root, parent)
        yield parent, files
        # the last one is visited next: links come after the folders that they may lead to
        pending += [f"{parent}/{name}" if parent else name for name in reversed(folders)]


def list_files(root: Path, folder: str = "") -> dict[str, str]:
    """List the visible files at any depth below a folder: {path below `root`: real path}, sorted.

    Symbolic links are followed, but no file is listed twice. Raises: as `walk`.
    """
    found = {path: real for _, files in walk(root, folder) for path, real in files.items()}
    return unique(dict(sorted(found.items())))


def unique(files: Mapping[str, str]) -> dict[str, str]:
    """Leave out every path whose real path an earlier one has."""
    first: dict[str, str] = {}
    for path, real in files.items():
        first.setdefault(real, path)
    return {path: real for real, path in first.items()}


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def image_files(root: Path) -> list[str]:
    """The images at any depth below a folder: sorted paths relative to it. Warns of other files."""
    files = list_files(root)
    images = [path for path in files if is_image(path)]
    warn_of_unused(root, files, images)
    return images


def warn_of_unused(root: Path, files: Iterable[str], used: Collection[str]) -> None:
    """Warn once of the files that are not in `used`, with their number for each suffix."""
    unused = set(files).difference(used)
    if not unused:
        return
    counts = Counter(Path(path).suffix.lower() or "without a suffix" for path in unused)
    pairs = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    listed = ", ".join(f"{count:,} {suffix}" for suffix, count in pairs[:8])
    listed += ", …" if len(counts) > 8 else ""
    what = "1 file is" if len(unused) == 1 else f"{len(unused):,} files are"
    warnings.warn(f"{root}: {what} not used: {listed}", stacklevel=3)
