"""``python -m bilinear …`` and the command ``bilinear``, which need ``bilinear[cli]``."""

import sys
from io import TextIOWrapper

from ._require import require_packages


def main() -> None:
    """Run the command line; one sentence with the cure where what it needs is not installed."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # names of files may hold what cannot be printed
            stream.reconfigure(errors="backslashreplace")
    try:
        require_packages("The command line", ("typer", "rich"), "cli")
    except ImportError as error:
        print(f"bilinear: {error}", file=sys.stderr)
        sys.exit(2)
    from .cli import run  # noqa: PLC0415 (not before it is known that it can be imported)

    sys.exit(run())


if __name__ == "__main__":
    main()
