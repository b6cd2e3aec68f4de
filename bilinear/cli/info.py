"""``bilinear info``: the description of a model file."""

from typing import Annotated, Any

from .._json import format_json
from ..models.summary import summarize
from ._console import show
from ._model import load, name_and_version, select_framework
from ._options import AllowImport, AsJson, ModelFile, framework_option


def info(
    file: ModelFile,
    as_json: AsJson = False,
    framework: Annotated[
        str | None,
        framework_option("Also open the model in this framework, which checks every tensor."),
    ] = None,
    allow_import: AllowImport = False,
) -> None:
    """Print the description of a model file. Needs no framework and reads no tensor by default."""
    summary = summarize(file)
    if framework is not None:
        load(file, select_framework(framework), allow_import)
        summary["opened_in"] = name_and_version(framework)
    if as_json:
        show(format_json(summary))
        return
    show(*(f"{key.replace('_', ' '):16}  {_text(value)}" for key, value in summary.items()))


def _text(value: Any) -> str:
    """Format a value in one line, with thousands separators."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(part)}" for key, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "–"}[value]
    return f"{value:,}" if isinstance(value, int) else f"{value}"
