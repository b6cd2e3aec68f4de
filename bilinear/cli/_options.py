"""Arguments and options of several commands."""

from pathlib import Path
from typing import Annotated, Any

import typer

from .._require import BACKENDS


def framework_option(text: str) -> Any:
    """The option ``--framework`` with its help text."""
    return typer.Option("--framework", help=text, metavar="|".join(BACKENDS))


ModelFile = Annotated[
    Path,
    typer.Argument(
        help="A model file, such as best.safetensors of a training run, or written by save.",
        metavar="FILE",
    ),
]
Inputs = Annotated[
    list[str],
    typer.Argument(help="Image files, folders, or quoted glob patterns.", metavar="IMAGES..."),
]
Framework = Annotated[
    str | None,
    framework_option(
        "Framework that runs the model. Default: the first installed one; for a custom backbone, "
        "that of the backbone."
    ),
]
AllowImport = Annotated[
    bool,
    typer.Option(
        "--allow-import",
        help="Import a custom backbone by its path, package.module:function, which runs its code.",
    ),
]
BatchSize = Annotated[int, typer.Option(min=1, help="Images in a batch.")]
MAX_WORKERS = 1024
Workers = Annotated[
    int, typer.Option(min=1, max=MAX_WORKERS, help="Number of threads that decode images.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Kind = Annotated[
    str | None,
    typer.Option(
        help="Layout of the data set. Default: detected from its files.",
        metavar="cub|aircraft|cars|folder|webdataset",
    ),
]
Fraction = Annotated[
    float | None,
    typer.Option(
        help="Fraction of each class's training images in the validation split. "
        "Default: that of the training run, or 0.1."
    ),
]
Seed = Annotated[
    int | None,
    typer.Option(help="Seed of the validation split. Default: that of the training run, or 0."),
]
Boxes = Annotated[
    bool, typer.Option("--boxes", help="Crop every image of the data set to its bounding box.")
]
Level = Annotated[
    str | None,
    typer.Option(help="Class level of FGVC-Aircraft.", metavar="variant|family|manufacturer"),
]
Banner = Annotated[
    int,
    typer.Option(
        min=0,
        help="Rows to cut off at the bottom of each image; 20 for FGVC-Aircraft.",
        metavar="PIXELS",
    ),
]
Subset = Annotated[
    bool, typer.Option("--subset", help="Accept a data set with fewer images than published.")
]
