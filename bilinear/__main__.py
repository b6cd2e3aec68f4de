"""Entry point of ``python -m bilinear`` and the command ``bilinear``; needs ``bilinear[cli]``."""

import os
import sys
from io import TextIOWrapper

from ._require import require_packages


def main() -> None:
    """Run the command line. If a package is missing, print one line and exit with code 2."""
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # file names may contain bytes that are not text
            stream.reconfigure(errors="backslashreplace")
    # the memory of decoded images in blocks of this size returns to the system when they are freed
    os.environ.setdefault("PILLOW_BLOCK_SIZE", "64m")
    try:
        require_packages("The command line", ("typer", "rich"), "cli")
    except ImportError as error:
        print(f"bilinear: {error}", file=sys.stderr)
        sys.exit(2)
    from .cli import run  # noqa: PLC0415 (only after the check above)

    sys.exit(run())


def _open_closed_streams() -> None:
    """Open the standard streams that are closed, so that no other file gets their descriptors.

    What is written to stderr is lost then. Writing to stdout fails, because results would be lost.
    """
    for number, flags in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.dup2(os.open(os.devnull, flags), number)  # the first free number is this one
            os.set_inheritable(number, True)
    sys.stdout = sys.stdout or os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", encoding="utf-8", closefd=False)


if __name__ == "__main__":
    main()
