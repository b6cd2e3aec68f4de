"""``bilinear info``: the description of a model file."""

import importlib
import json
from typing import Annotated, Any

from ..models.summary import summarize
from ._model import name_and_version, select_framework
from ._options import AsJson, ModelFile, framework_option


def info(
    file: ModelFile,
    as_json: AsJson = False,
    framework: Annotated[
        str | None,
        framework_option("Also open the model in this framework, which checks every tensor."),
    ] = None,
) -> None:
    """Print the description of a model file. Needs no framework and reads no tensor by default."""
    summary = summarize(file)
    if framework is not None:
        importlib.import_module(f"bilinear.{select_framework(framework)}").load(file)
        summary["opened_in"] = name_and_version(framework)
    if as_json:
        print(json.dumps(summary))
        return
    for key, value in summary.items():
        print(f"{key.replace('_', ' '):16}  {_text(value)}")


def _text(value: Any) -> str:
    """Format a value in one line, with thousands separators."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(part)}" for key, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "–"}[value]
    return f"{value:,}" if isinstance(value, int) else f"{value}"
