"""``bilinear export``: a model in a format for deployment."""

from pathlib import Path
from typing import Annotated

import typer

from ..models.export import export as export_file
from ._console import show
from ._options import ModelFile


def export(
    file: ModelFile,
    output: Annotated[Path, typer.Argument(help="The file or folder to write.", metavar="OUTPUT")],
    image: Annotated[
        list[Path] | None,
        typer.Option(help="An image on which both models are compared; may be repeated."),
    ] = None,
    with_preprocessing: Annotated[
        bool,
        typer.Option("--with-preprocessing", help="Normalize images inside the exported model."),
    ] = False,
) -> None:
    """Export a model to ONNX, LiteRT, torch.export or a SavedModel.

    Suffixes of OUTPUT: .onnx, .tflite (LiteRT), .pt2 (torch.export), none for the folder of a
    SavedModel. The logits of the exported model are compared with those of the original before the
    file is kept.
    """
    result = export_file(file, output, images=image or (), with_preprocessing=with_preprocessing)
    show(
        f"{file} -> {output} ({result.form}): {result.size:,} bytes, "
        f"logits equal within {result.difference:.1g}"
    )
