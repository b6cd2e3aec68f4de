"""The arguments of ``bilinear train`` in the folder of a run, which --resume reads."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .._files import write_text
from .._json import format_json, read_json
from ..contract import refuse
from ..train.differences import differences
from ._dataset import COMMAND, RECORD

FIXED = "fraction", "kind", "boxes", "level", "views"
"""Options that decide which images a run reads: they cannot change when it is resumed."""
ENGINE = "device", "amp", "compile", "devices"
"""Options of the framework."""


def merge_options(folder: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a run, replaced by those that are given: neither None nor False.

    Raises: ValueError that names each given option that a run cannot change.
    """
    recorded: dict[str, Any] = {}
    remedy = "Restore the file, or pass RECIPE, DATA, RUN and all options."
    for name in RECORD, COMMAND:
        if (folder / name).exists():
            values = read_json(f"resume {folder}", folder / name, remedy)
            if not isinstance(values, dict):
                invariant = f"{folder / name} must have a JSON object"
                refuse(ValueError, f"resume {folder}", invariant, type(values).__name__, remedy)
            recorded |= {key: values[key] for key in options if key in values}
    given = {k: v for k, v in options.items() if v is not None and v is not False}
    old = {key: recorded[key] for key in FIXED if key in recorded and key in given}
    if changed := differences(old, {key: given[key] for key in old}):
        invariant = "the options must be those of the run"
        refuse(ValueError, f"resume {folder}", invariant, "; ".join(changed), "Leave them out.")
    if given.get("framework", recorded.get("framework")) != recorded.get("framework"):
        recorded = {k: v for k, v in recorded.items() if k not in ENGINE}
    return dict(options) | recorded | given


def record_command(folder: Path, options: Mapping[str, Any]) -> None:
    """Write the options of a run where they are new or have changed."""
    text = format_json(options, indent=2) + "\n"
    path = folder / COMMAND
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)
