"""The command line: ``bilinear info|predict|evaluate|…``, see docs/cli.md.

Each command is a file of its own, thin: it parses, calls the library and prints. Results go to
stdout, all else to stderr. Exit codes: `bilinear.cli._errors`.
"""

from typing import Annotated

import typer

from .. import __version__
from ._errors import Settings, guarded
from .convert import convert
from .evaluate import evaluate
from .explain import explain
from .features import features
from .info import info
from .predict import predict
from .retrieve import retrieve
from .train import train

__all__ = ["app", "run"]

app = typer.Typer(
    help="Bilinear CNNs at the command line, in whichever framework is installed.",
    epilog="Exit codes: 0 done; 1 some inputs failed, the others are done; 2 refused: arguments, "
    "a file, a disk; 3 an unexpected failure; 130 interrupted; 141 nobody reads on.",
    pretty_exceptions_enable=False,
)

COMMANDS = (
    train,
    info,
    predict,
    evaluate,
    features,
    retrieve,
    explain,
    convert,
)
for command in COMMANDS:
    app.command()(command)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"bilinear {__version__}")
        raise typer.Exit


@app.callback()
def main(
    context: typer.Context,
    traceback: Annotated[
        bool, typer.Option("--traceback", help="Show where an error comes from.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option("--version", help="Print it.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    """Bilinear CNNs at the command line, in whichever framework is installed."""
    context.obj.traceback = traceback


def run(arguments: list[str] | None = None) -> int:
    """The exit code of one command; `arguments` None takes those of the process."""
    command = typer.main.get_command(app)
    settings = Settings()
    return guarded(
        settings,
        lambda: command.main(arguments, prog_name="bilinear", standalone_mode=False, obj=settings),
    )
