"""What goes to stderr: sentences, and how far a command has come."""

import sys
import time
from collections.abc import Callable
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar

INTERVAL = 5.0
"""Seconds between the lines of a log."""


def say(text: str) -> None:
    """A line on stderr."""
    print(text, file=sys.stderr, flush=True)


class Progress:
    """Images done of a total, with rate and remaining time; a context manager.

    On a terminal it is a bar, elsewhere a line every `INTERVAL` seconds; at last a line on both.
    """

    def __init__(
        self, total: int, *, bar: bool = True, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._total, self._done, self._clock = total, 0, clock
        self._begun = self._told = clock()
        self._bar: Bar | None = None
        if sys.stderr.isatty():
            # stdout stays what the command prints: only sentences on stderr are kept off the bar
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

    def advance(self, count: int = 1) -> None:
        self._done += count
        now = self._clock()
        rate = self._done / max(now - self._begun, 1e-9)
        left = timedelta(seconds=round((self._total - self._done) / rate))
        pace = f"{rate:.1f}/s, {left} left"
        if self._bar:
            self._bar.update(self._task, advance=count, description=pace)
        elif now - self._told >= INTERVAL:
            self._told = now
            say(f"{self._done:,} of {self._total:,} images, {pace}")

    def __exit__(self, kind: type | None, *_: object) -> None:
        if self._bar:
            self._bar.stop()
        if kind is None:
            seconds = self._clock() - self._begun
            say(f"{self._done:,} of {self._total:,} images in {seconds:.1f} s")
