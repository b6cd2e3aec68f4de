"""Messages and progress on stderr."""

import sys
import time
from collections.abc import Callable
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar

INTERVAL = 5.0


def say(text: str) -> None:
    """Print a line to stderr."""
    print(text, file=sys.stderr, flush=True)


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

    def advance(self, count: int = 1) -> None:
        self._done += count
        now = self._clock()
        speed = self._done / max(now - self._start, 1e-9)
        left = timedelta(seconds=round((self._total - self._done) / speed))
        status = f"{speed:.1f}/s, {left} left"
        if self._bar:
            self._bar.update(self._task, advance=count, description=status)
        elif now - self._last_line >= INTERVAL:
            self._last_line = now
            say(f"{self._done:,} of {self._total:,} images, {status}")

    def __exit__(self, kind: type | None, *_: object) -> None:
        if self._bar:
            self._bar.stop()
        if kind is None:
            seconds = self._clock() - self._start
            say(f"{self._done:,} of {self._total:,} images in {seconds:.1f} s")
