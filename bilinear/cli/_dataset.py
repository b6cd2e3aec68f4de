"""The data set and split of a command, and the split that a training run recorded."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from .._files import write_text
from .._json import format_json, read_json
from ..contract import refuse
from ..data import Index, Item, open_dataset, validation_split
from ..data.index import Split
from ._console import say

COMMAND = "command.json"
"""File in the folder of a run: the options of the command and the path of the data set."""
RECORD = "data.json"
"""File in the folder of a run: fraction and seed of its validation split."""
DEFAULTS = {"fraction": 0.1, "seed": 0}
"""Fraction and seed of the validation split if none are given or recorded."""


def open_data(
    path: Path, kind: str | None, subset: bool, boxes: bool = False, level: str | None = None
) -> Index:
    """Open the data set in a folder. Raises: ValueError for options that it does not have."""
    given = {"boxes": boxes or None, "level": level}
    options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if subset:
        options["check_counts"] = False
    return open_dataset(path, kind, **options)


def record_split(folder: Path, values: Mapping[str, Any]) -> None:
    """Write fraction and seed of the validation split into the folder of a run, once."""
    if not (folder / RECORD).exists():
        write_text(folder / RECORD, format_json(values, indent=2) + "\n")


def select_split(
    file: Path, index: Index, split: str | None, fraction: float | None, seed: int | None
) -> tuple[str, Sequence[Item], dict[str, Any]]:
    """Return the name of a split, its images, and fraction and seed of the validation split.

    None for `split` is the test split. Without test images it is the validation split if the model
    was trained on this data, else all images. None for `fraction` or `seed` is the value of the run
    of `file`, or from `DEFAULTS`. Validation images are never training images.
    """
    if split is None:
        split = _default_split(file, index)
    pairs = {"fraction": fraction, "seed": seed}
    given = {name: value for name, value in pairs.items() if value is not None}
    options: dict[str, Any] = {}
    if split not in ("train", "validation") and given:
        received = f"{', '.join(f'--{name}' for name in given)} with --split {split}"
        requirement = "--fraction and --seed require --split validation or train"
        remedy = "Leave them out, or use --split validation."
        refuse(ValueError, "bilinear", requirement, received, remedy)
    if split in ("train", "validation") and not index.split("validation"):
        options = DEFAULTS | _recorded_options(file) | given
        share = f"{options['fraction']:g} of each class's training images"
        say(f"validation split: {share}, seed {options['seed']}")
        index = validation_split(index, **options)
    items: Sequence[Item] = index.items if split == "all" else index.split(cast("Split", split))
    if not items:
        remedy = "Choose another split with --split."
        if split == "test":
            remedy = "Put test images into test/ beside train/, or use --split validation."
        requirement = f"the {split} split must have at least one image"
        refuse(ValueError, f"{index.root}", requirement, "none", remedy)
    return split, items, options


def _default_split(file: Path, index: Index) -> str:
    if index.split("test"):
        return "test"
    recorded = run_folder(file) / COMMAND
    remedy = "Restore the file, or name the split with --split."
    values = read_json("bilinear", recorded, remedy) if recorded.exists() else None
    path = values.get("data") if isinstance(values, dict) else None
    trained = isinstance(path, str) and os.path.realpath(path) == os.path.realpath(index.root)
    split = "validation" if trained or index.split("validation") else "all"
    say(f"{index.root} has no test split: {split} images")
    return split


def run_folder(file: Path) -> Path:
    """The folder of the run that wrote a model file."""
    return file.parent.parent if file.parent.name == "phases" else file.parent


def _recorded_options(file: Path) -> dict[str, Any]:
    """Fraction and seed in the folder of the run that wrote the model; empty without a run."""
    folder = run_folder(file)
    if not (folder / RECORD).exists():
        return {}
    remedy = "Restore the file, or delete it and pass --fraction and --seed."
    values = read_json("bilinear", folder / RECORD, remedy)
    try:
        return {name: type(value)(values[name]) for name, value in DEFAULTS.items()}
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        invariant = f"{folder / RECORD} must contain the fraction and the seed of the run"
        refuse(ValueError, "bilinear", invariant, f"{type(error).__name__}: {error}", remedy)
