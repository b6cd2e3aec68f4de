"""Which part of which data set a command is about, and what the run of a model says of it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .._files import replacing
from ..contract import refuse
from ..data import Index, Item, open_dataset, validation_split
from ._console import say

RECORD = "data.json"
"""In the folder of a run: how its validation part was cut."""
DEFAULTS = {"fraction": 0.1, "seed": 0}
"""Of that cut, as `bilinear train` has them."""


def dataset(
    path: Path, kind: str | None, subset: bool, boxes: bool = False, level: str | None = None
) -> Index:
    """The data set in a folder. Raises: ValueError for options that it does not have, too."""
    given = {"boxes": boxes or None, "level": level}
    options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if subset:
        options["check_counts"] = False
    return open_dataset(path, kind, **options)


def record(folder: Path, about: Mapping[str, Any]) -> None:
    """Write, into the folder of a run, what it was told of its data, unless that is there."""
    if not (folder / RECORD).exists():
        with replacing(folder / RECORD) as path:
            Path(path).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def cut_of(
    file: Path, index: Index, part: str, fraction: float | None, seed: int | None
) -> dict[str, Any]:
    """How `validation_split` cuts the part that is asked for; empty where it is not cut.

    What is not given is as the run of the model was told, and without a run as `train` has it.

    Raises: ValueError for a cut of another part than validation.
    """
    pairs = {"fraction": fraction, "seed": seed}
    given = {name: value for name, value in pairs.items() if value is not None}
    if part != "validation":
        if given:
            words = ", ".join(f"--{name}" for name in given)
            remedy = "Leave them out, or choose that part."
            invariant = "--fraction and --seed are of --part validation"
            refuse(ValueError, "bilinear", invariant, f"{words} for {part}", remedy)
        return {}
    if index.part("validation"):
        return {}
    cut = DEFAULTS | _recorded(file) | given
    share = f"{cut['fraction']:g} of each class's training images"
    say(f"validation part: {share}, by seed {cut['seed']}")
    return cut


def part_of(index: Index, part: Any, cut: Mapping[str, Any]) -> Sequence[Item]:
    """The images of a part. Raises: ValueError for one without images, or another name."""
    items = (validation_split(index, **cut) if cut else index).part(part)
    if not items:
        remedy = "Choose another by --part."
        if part == "test":
            remedy = "A folder needs test/ beside train/; or choose --part validation."
        refuse(ValueError, f"{index.root}", f"the {part} part must hold an image", "none", remedy)
    return items


def _recorded(file: Path) -> dict[str, Any]:
    """Fraction and seed of the run that wrote a model; empty for a model without a run."""
    folder = file.parent.parent if file.parent.name == "phases" else file.parent
    if not (folder / RECORD).is_file():
        return {}
    try:
        about = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        return {name: type(value)(about[name]) for name, value in DEFAULTS.items()}
    except (ValueError, TypeError, KeyError) as error:
        invariant = f"{folder / RECORD} must say the fraction and the seed of the run"
        remedy = "Restore it; or remove it, and give --fraction and --seed."
        refuse(ValueError, "bilinear", invariant, f"{type(error).__name__}: {error}", remedy)
