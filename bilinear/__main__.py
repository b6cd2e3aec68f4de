"""Entry point of ``python -m bilinear`` and the command ``bilinear``; needs ``bilinear[cli]``."""

import os
import sys
from io import TextIOWrapper

from ._require import require_packages


def main() -> None:
    """Run the command line. If a package is missing, print one line and exit with code 2."""
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


if __name__ == "__main__":
    main()
