"""The command line ``bilinear info|predict|evaluate|…``, documented in docs/cli.md.

Each command has its own file. A command parses its arguments, calls the library and prints.
Results go to stdout, everything else to stderr. `bilinear.cli._errors` lists the exit codes.
"""

import sys
from typing import Annotated

import typer

from .. import __version__
from ..contract import refuse
from ..data.image_reader import MAX_PIXELS, set_max_pixels
from ._console import show
from ._errors import Settings, run_guarded
from .classifier import classifier
from .convert import convert
from .cost import cost
from .descriptors import descriptors
from .evaluate import evaluate
from .explain import explain
from .export import export
from .info import info
from .predict import predict
from .reduction import reduction
from .retrieve import retrieve
from .train import train

__all__ = ["app", "run"]

app = typer.Typer(
    epilog="Exit codes: 0 success; 1 some inputs failed; 2 invalid arguments or file, missing "
    "package, full disk, loss not finite; 3 unexpected error; 130 interrupted; 143 terminated; "
    "141 broken pipe of stdout.",
    pretty_exceptions_enable=False,
)

COMMANDS = (
    train,
    info,
    predict,
    evaluate,
    descriptors,
    reduction,
    classifier,
    retrieve,
    explain,
    convert,
    export,
    cost,
)
for command in COMMANDS:
    app.command()(command)


def _print_version(value: bool) -> None:
    if value:
        show(f"bilinear {__version__}")
        raise typer.Exit


@app.callback()
def main(
    context: typer.Context,
    traceback: Annotated[
        bool, typer.Option("--traceback", help="Show the traceback of an error.")
    ] = False,
    max_pixels: Annotated[
        int, typer.Option(min=1, help="Refuse images with more pixels.", metavar="PIXELS")
    ] = MAX_PIXELS,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Train, evaluate and apply bilinear CNNs."""
    context.obj.traceback = traceback
    set_max_pixels(max_pixels)


def run(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code. `arguments` defaults to ``sys.argv[1:]``."""
    command = typer.main.get_command(app)
    settings = Settings()

    def call() -> int | None:
        if "" in (sys.argv[1:] if arguments is None else arguments):
            remedy = "It would name the current folder; write . for that."
            refuse(ValueError, "bilinear", "an argument must not be empty", "''", remedy)
        return command.main(arguments, prog_name="bilinear", standalone_mode=False, obj=settings)

    return run_guarded(settings, call)
