"""The metrics of a run as a picture: losses and accuracy, its phases, and the best epoch."""

import io
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .._files import append, replace_file
from .run import Run

SHARE = 0.05
"""Of the time since the drawing before that it may have taken, else an epoch is not drawn."""

TRAINING, VALIDATION, QUIET = "#1f5fa8", "#d1600a", "#777777"


class Curves:
    """Called with each event once it is in the metrics, of which it draws at the end of an epoch.

    The end of a phase and of the run are always drawn. Raises: OSError naming the file; the run
    can be resumed.
    """

    def __init__(self, run: Run, clock: Callable[[], float] = time.monotonic) -> None:
        self._run, self._clock = run, clock
        self._current = False
        """Whether what there is to see is drawn, by this process."""
        self._took, self._ended = 0.0, clock()

    def __call__(self, event: Mapping[str, Any]) -> None:
        if event["event"] == "phase":
            self.finish()
        elif event["event"] == "epoch":
            self._current = False
            if self._took <= SHARE * (self._clock() - self._ended):
                self.finish()

    def finish(self) -> None:
        """Draw, unless it is drawn."""
        if not self._current:
            begun = self._clock()
            draw(self._run)
            self._current, self._ended = True, self._clock()
            self._took = self._ended - begun


def draw(run: Run) -> None:
    """The picture of a run, in the place of the one before; none where there is no epoch yet."""
    events = run.logged()
    if not any(event["event"] == "epoch" for event in events):
        return
    buffer = io.BytesIO()
    FigureCanvasAgg(figure(events)).print_png(buffer)
    with replace_file(run.curves) as temporary:
        append(temporary, buffer.getvalue(), name=run.curves)


def figure(events: Sequence[Mapping[str, Any]]) -> Figure:
    """Losses over accuracy, by the step and the epoch; `events` hold one epoch at least."""
    steps = [event for event in events if event["event"] == "step"]
    epochs = [event for event in events if event["event"] == "epoch"]
    made = Figure((10, 7), dpi=100, layout="constrained")
    upper, lower = made.subplots(2, sharex=True, height_ratios=(3, 2))
    upper.plot(
        *_line(steps, "loss"), color=TRAINING, alpha=0.3, lw=0.8, label="training, each step"
    )
    style = {"marker": "o", "markersize": 4 if len(epochs) <= 40 else 0, "lw": 1.6}
    upper.plot(*_line(epochs, "training_loss"), color=TRAINING, label="training, mean", **style)
    upper.plot(*_line(epochs, "validation_loss"), color=VALIDATION, label="validation", **style)
    x, accuracies = _line(epochs, "validation_accuracy")
    percents = [100 * accuracy for accuracy in accuracies]
    lower.plot(x, percents, color=VALIDATION, label="validation", **style)
    best = max(k for k, epoch in enumerate(epochs) if epoch["best"])
    chosen = epochs[best]
    words = f"loss {chosen['validation_loss']:.4g}, {percents[best]:.1f} % right"
    label = f"best: phase {chosen['phase']}, epoch {chosen['epoch']}, {words}"
    star = {"marker": "*", "ms": 15, "ls": "", "color": "black", "zorder": 3}
    upper.plot(x[best], chosen["validation_loss"], label=label, **star)
    lower.plot(x[best], percents[best], **star)
    upper.set_ylabel("cross-entropy / nats")
    lower.set(ylabel="validation accuracy / %", xlabel="step")
    lower.margins(y=0.2)  # room for the names of phases
    for axes in (upper, lower):
        axes.grid(alpha=0.3)
    _mark_phases(upper, lower, events)
    length = epochs[0]["step"]  # of every epoch
    above = upper.secondary_xaxis("top", (lambda x: x / length, lambda x: x * length))
    above.set_xlabel(f"epochs, of {length:,} steps")
    upper.legend(loc="upper right")
    return made


def _line(events: Sequence[Mapping[str, Any]], name: str) -> tuple[list[int], list[float]]:
    return [event["step"] for event in events], [event[name] for event in events]


def _mark_phases(upper: Axes, lower: Axes, events: Sequence[Mapping[str, Any]]) -> None:
    """A line where each begins, and its name behind it."""
    starts = [(0, str(events[0]["phase"]))]
    for before, event in pairwise(events):
        if event["event"] == "phase":
            starts.append((before["step"], event["phase"]))
    for step, name in starts:
        for axes in (upper, lower):
            axes.axvline(step, color=QUIET, lw=1, ls="--")
        lower.annotate(
            name,
            (step, 1),
            xycoords=("data", "axes fraction"),
            xytext=(4, -4),
            va="top",
            textcoords="offset points",
            color=QUIET,
        )
