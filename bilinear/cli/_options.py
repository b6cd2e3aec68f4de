"""Arguments and options that several commands have, said once."""

from pathlib import Path
from typing import Annotated, Any

import typer

from .._require import BACKENDS


def framework_option(text: str) -> Any:
    """`--framework`, of which `text` says what it means to the command."""
    return typer.Option("--framework", help=text, metavar="|".join(BACKENDS))


ModelFile = Annotated[Path, typer.Argument(help="A model written by save.", metavar="FILE")]
Inputs = Annotated[
    list[str],
    typer.Argument(help="Image files, folders of them, or globs in quotes.", metavar="IMAGES..."),
]
Framework = Annotated[
    str | None,
    framework_option("Which framework computes; without it the first that is installed."),
]
BatchSize = Annotated[int, typer.Option(min=1, help="Images that are computed at once.")]
Workers = Annotated[int, typer.Option(min=1, help="Threads that decode images.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Kind = Annotated[
    str | None,
    typer.Option(
        help="Which layout the data set has; without it that is seen from its files.",
        metavar="cub|aircraft|cars|folder",
    ),
]
Fraction = Annotated[
    float | None,
    typer.Option(help="Of --part validation; unless said, of the model's run, or 0.1."),
]
Seed = Annotated[
    int | None,
    typer.Option(help="Of --part validation; unless said, of the model's run, or 0."),
]
Boxes = Annotated[
    bool, typer.Option("--boxes", help="Cut every image of the data set to its bounding box.")
]
Level = Annotated[
    str | None,
    typer.Option(help="Of FGVC-Aircraft: what a class is.", metavar="variant|family|manufacturer"),
]
Banner = Annotated[
    int,
    typer.Option(
        min=0,
        help="Rows to drop at the bottom of each image: 20 for FGVC-Aircraft.",
        metavar="PIXELS",
    ),
]
Subset = Annotated[
    bool, typer.Option("--subset", help="Take a data set with fewer images than it should have.")
]
