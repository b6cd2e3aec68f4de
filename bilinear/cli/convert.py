"""`bilinear convert`: the portable file to and from the frameworks' own files."""

from pathlib import Path
from typing import Annotated

import typer

from ..models.conversion import FORMS, PORTABLE
from ..models.conversion import convert as convert_file
from ._options import framework_option

_FORMS = ", ".join((PORTABLE, *FORMS))


def convert(
    source: Annotated[Path, typer.Argument(help="The file to read.")],
    target: Annotated[Path, typer.Argument(help="The file to write.")],
    like: Annotated[
        Path | None,
        typer.Option(help="A portable file of the same model, where SOURCE does not say which."),
    ] = None,
    source_form: Annotated[
        str | None, typer.Option("--from", help=f"Form of SOURCE, if not by its name: {_FORMS}.")
    ] = None,
    target_form: Annotated[
        str | None, typer.Option("--to", help=f"Form of TARGET, if not by its name: {_FORMS}.")
    ] = None,
    framework: Annotated[
        str | None,
        framework_option(
            "Whose the file is that is not portable; tells its form where its name does not."
        ),
    ] = None,
) -> None:
    """Convert a portable file to a framework's own file, or such a file to a portable one.

    The portable file ends in .safetensors, PyTorch's state_dict in .pt or .pth, a Keras model in
    .keras and its weights in .weights.h5, the folder of an nnx state in .orbax. Numbers keep every
    bit. Back into a portable file all but .keras need --like.
    """
    done = convert_file(
        source,
        target,
        like=like,
        source_form=source_form,
        target_form=target_form,
        framework=framework,
    )
    print(f"{source} ({done.source}) -> {target} ({done.target}): {done.tensors} tensors")
    if done.momentum_left:
        typer.echo("SGD buffers were left behind: only the portable file has them.", err=True)
