"""Results on stdout, messages and progress on stderr."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar

from .._files import name_in_errors

INTERVAL = 5.0


def escape(text: str) -> str:
    """Escape what a terminal would execute or reorder, such as control characters and line ends.

    Names of files and classes come from others.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def show(*lines: str) -> None:
    """Print lines to stdout. Raises: OSError that names stdout if it is closed or full."""
    with writing_stdout():
        for line in lines:
            print(escape(line), flush=True)


@contextmanager
def writing_stdout() -> Iterator[None]:
    """Name stdout in an OSError of the block, and flush stdout at its end."""
    with name_in_errors("stdout"):
        yield
        sys.stdout.flush()


def say(text: str) -> None:
    """Print a line to stderr. Messages that cannot be written are lost: a command goes on."""
    try:
        print(escape(text), file=sys.stderr, flush=True)
    except OSError:
        discard(sys.stderr)


def discard(stream: TextIO) -> None:
    """Redirect a stream to the null device, so that flushing at exit cannot fail."""
    with suppress(OSError, ValueError):  # a stream of a test has no descriptor
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


class Progress:
    """Progress over images: a bar on a terminal, else a line every `INTERVAL` seconds."""

    def __init__(
        self, total: int, *, bar: bool = True, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._total, self._done, self._clock = total, 0, clock
        self._start = self._last_line = clock()
        self._bar: Bar | None = None
        if sys.stderr.isatty():
            # stdout belongs to the command; only stderr is redirected above the bar
            self._bar = Bar(
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.description}"),
                console=Console(stderr=True),
                redirect_stdout=False,
                transient=True,
                disable=not bar,
            )
            self._task = self._bar.add_task("", total=total)

    def __enter__(self) -> "Progress":
        if self._bar:
            self._bar.start()
        return self

    def advance(self, count: int = 1, detail: str = "") -> None:
        """Report `count` more images; `detail` stands before their number."""
        self._done += count
        now = self._clock()
        speed = self._done / max(now - self._start, 1e-9)
        left = timedelta(seconds=round((self._total - self._done) / speed))
        status = f"{speed:.1f}/s, {left} left"
        if self._bar:
            self._bar.update(self._task, advance=count, description=f"{detail}{status}")
        elif now - self._last_line >= INTERVAL:
            self._last_line = now
            say(f"{detail}{self._done:,} of {self._total:,} images, {status}")

    def __exit__(self, kind: type | None, *_: object) -> None:
        if self._bar:
            self._bar.stop()
        if kind is None:
            seconds = self._clock() - self._start
            say(f"{self._done:,} of {self._total:,} images in {seconds:.1f} s")
