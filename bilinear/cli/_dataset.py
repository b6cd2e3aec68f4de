"""The data set and split of a command, and the split that a training run recorded."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .._files import write_text
from .._json import format_json, read_json
from ..contract import refuse
from ..data import Index, Item, open_dataset, validation_split
from ._console import say

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
    file: Path,
    index: Index,
    split: Any,
    fraction: float | None,
    seed: int | None,
    *,
    allow_all: bool = False,
) -> tuple[Sequence[Item], dict[str, Any]]:
    """Return the images of a split; None is the value of the run of `file`, or from `DEFAULTS`."""
    pairs = {"fraction": fraction, "seed": seed}
    given = {name: value for name, value in pairs.items() if value is not None}
    options: dict[str, Any] = {}
    if split != "validation" and given:
        received = f"{', '.join(f'--{name}' for name in given)} with --split {split}"
        requirement = "--fraction and --seed require --split validation"
        remedy = "Leave them out, or use --split validation."
        refuse(ValueError, "bilinear", requirement, received, remedy)
    if split == "validation" and not index.split("validation"):
        options = DEFAULTS | _recorded_options(file) | given
        share = f"{options['fraction']:g} of each class's training images"
        say(f"validation split: {share}, seed {options['seed']}")
        index = validation_split(index, **options)
    items = index.items if allow_all and split == "all" else index.split(split)
    if not items:
        remedy = "Choose another split with --split."
        if split == "test":
            remedy = "Put test images into test/ beside train/, or use --split validation."
        requirement = f"the {split} split must have at least one image"
        refuse(ValueError, f"{index.root}", requirement, "none", remedy)
    return items, options


def _recorded_options(file: Path) -> dict[str, Any]:
    """Fraction and seed in the folder of the run that wrote the model; empty without a run."""
    folder = file.parent.parent if file.parent.name == "phases" else file.parent
    if not (folder / RECORD).exists():
        return {}
    remedy = "Restore the file, or delete it and pass --fraction and --seed."
    values = read_json("bilinear", folder / RECORD, remedy)
    try:
        return {name: type(value)(values[name]) for name, value in DEFAULTS.items()}
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        invariant = f"{folder / RECORD} must contain the fraction and the seed of the run"
        refuse(ValueError, "bilinear", invariant, f"{type(error).__name__}: {error}", remedy)
