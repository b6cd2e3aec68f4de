"""``bilinear info``: what a file is, without any framework, or opened in one."""

import importlib
import json
from typing import Annotated, Any

from ..models.summary import summarize
from ._model import chosen, named
from ._options import AsJson, ModelFile, framework_option


def info(
    file: ModelFile,
    as_json: AsJson = False,
    framework: Annotated[
        str | None,
        framework_option("Open the model in this framework too, which checks every tensor."),
    ] = None,
) -> None:
    """Say what a model's file is; no framework is needed and no tensor is read, unless asked."""
    summary = summarize(file)
    if framework is not None:
        importlib.import_module(f"bilinear.{chosen(framework)}").load(file)
        summary["opened_in"] = named(framework)
    if as_json:
        print(json.dumps(summary))
        return
    for key, value in summary.items():
        print(f"{key.replace('_', ' '):16}  {_text(value)}")


def _text(value: Any) -> str:
    """A value in one line: counts with commas, lists with theirs."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(part)}" for key, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "–"}[value]
    return f"{value:,}" if isinstance(value, int) else f"{value}"
