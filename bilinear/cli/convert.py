"""``bilinear convert``: conversion between portable files and native files of the frameworks."""

from pathlib import Path
from typing import Annotated

import typer

from ..models.conversion import FORMS, PORTABLE
from ..models.conversion import convert as convert_file
from ._console import say, show
from ._options import framework_option

_FORMS = ", ".join((PORTABLE, *FORMS))


def convert(
    source: Annotated[Path, typer.Argument(help="The file to read.")],
    target: Annotated[Path, typer.Argument(help="The file to write.")],
    like: Annotated[
        Path | None,
        typer.Option(
            help="A portable file of the same model, if SOURCE does not describe its model."
        ),
    ] = None,
    source_form: Annotated[
        str | None,
        typer.Option("--from", help=f"Format of SOURCE. Default: by its suffix. One of {_FORMS}."),
    ] = None,
    target_form: Annotated[
        str | None,
        typer.Option("--to", help=f"Format of TARGET. Default: by its suffix. One of {_FORMS}."),
    ] = None,
    framework: Annotated[
        str | None,
        framework_option(
            "Framework of the native file. Selects the format of a file with another suffix."
        ),
    ] = None,
) -> None:
    """Convert a portable file to a native file of a framework, or a native file to a portable one.

    Suffixes: .safetensors for a portable file, .pt or .pth for a PyTorch state_dict, .keras for a
    Keras model, .weights.h5 for Keras weights, .orbax for the folder of an nnx state. All values
    are preserved exactly. Reading a native file, except .keras, needs --like.
    """
    result = convert_file(
        source,
        target,
        like=like,
        source_form=source_form,
        target_form=target_form,
        framework=framework,
    )
    show(f"{source} ({result.source}) -> {target} ({result.target}): {result.tensors} tensors")
    if result.momentum_left:
        say("SGD momentum buffers were dropped: only the portable file can hold them.")
