"""The metrics of a run as a figure: losses, accuracies, the phases, and the best epoch."""

import io
import time
from collections.abc import Callable, Sequence
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .._files import append, replace_file
from .events import EpochDone, Metric, PhaseStarted, StepDone
from .run import Run

SHARE = 0.05
"""An epoch is drawn only if the last drawing took at most this share of the time since then."""

TRAINING, VALIDATION, PHASE = "#1f5fa8", "#d1600a", "#777777"


class Curves:
    """Draw the figure after an epoch or phase, and by `finish`. Raises: OSError naming the file."""

    def __init__(self, run: Run, clock: Callable[[], float] = time.monotonic) -> None:
        self._run, self._clock = run, clock
        self._is_current = False
        self._took, self._ended = 0.0, clock()

    def __call__(self, event: Metric) -> None:
        if isinstance(event, PhaseStarted):
            self.finish()
        elif isinstance(event, EpochDone):
            self._is_current = False
            if self._took <= SHARE * (self._clock() - self._ended):
                self.finish()

    def finish(self) -> None:
        """Draw, unless the figure is up to date."""
        if not self._is_current:
            started = self._clock()
            draw(self._run)
            self._is_current, self._ended = True, self._clock()
            self._took = self._ended - started


def draw(run: Run) -> None:
    """Replace the figure of a run; without an epoch there is none."""
    events = run.read_metrics()
    if not any(isinstance(event, EpochDone) for event in events):
        return
    buffer = io.BytesIO()
    FigureCanvasAgg(figure(events)).print_png(buffer)
    with replace_file(run.curves) as temporary:
        append(temporary, buffer.getvalue(), name=run.curves)


def figure(events: Sequence[Metric]) -> Figure:
    """Losses above accuracies, by step and epoch; `events` contain at least one epoch."""
    steps = [event for event in events if isinstance(event, StepDone)]
    epochs = [event for event in events if isinstance(event, EpochDone)]
    x = [epoch.step for epoch in epochs]
    made = Figure((10, 7), dpi=100, layout="constrained")
    upper, lower = made.subplots(2, sharex=True, height_ratios=(3, 2))
    each = {"color": TRAINING, "alpha": 0.3, "lw": 0.8, "label": "training, each step"}
    upper.plot([step.step for step in steps], [step.loss for step in steps], **each)
    style = {"marker": "o", "markersize": 4 if len(epochs) <= 40 else 0, "lw": 1.6}
    means = [epoch.training_loss for epoch in epochs]
    upper.plot(x, means, color=TRAINING, label="training, mean", **style)
    losses = [epoch.validation_loss for epoch in epochs]
    upper.plot(x, losses, color=VALIDATION, label="validation", **style)
    of_training = [100 * epoch.training_accuracy for epoch in epochs]
    lower.plot(x, of_training, color=TRAINING, label="training, mean", **style)
    percents = [100 * epoch.validation_accuracy for epoch in epochs]
    lower.plot(x, percents, color=VALIDATION, label="validation", **style)
    i = max(i for i, epoch in enumerate(epochs) if epoch.best)
    best = epochs[i]
    words = f"loss {losses[i]:.4g}, accuracy {percents[i]:.1f}%"
    label = f"best: phase {best.phase}, epoch {best.epoch + 1}, {words}"
    star = {"marker": "*", "ms": 15, "ls": "", "color": "black", "zorder": 3}
    upper.plot(x[i], losses[i], label=label, **star)
    lower.plot(x[i], percents[i], **star)
    upper.set_ylabel("cross-entropy / nats")
    lower.set(ylabel="accuracy in %", xlabel="step")
    lower.margins(y=0.2)  # space for the names of the phases
    for axes in (upper, lower):
        axes.grid(alpha=0.3)
    _mark_phases(upper, lower, events)
    length = x[0]  # of every epoch
    above = upper.secondary_xaxis("top", (lambda x: x / length, lambda x: x * length))
    above.set_xlabel(f"epochs, of {length:,} steps")
    upper.legend(loc="upper right")
    return made


def _mark_phases(upper: Axes, lower: Axes, events: Sequence[Metric]) -> None:
    """A line at the start of each phase, with its name."""
    starts = [(0, events[0].phase)]
    for before, event in pairwise(events):
        if isinstance(event, PhaseStarted) and not isinstance(before, PhaseStarted):
            starts.append((before.step, event.phase))
    place = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
    for step, name in starts:
        for axes in (upper, lower):
            axes.axvline(step, color=PHASE, lw=1, ls="--")
        lower.annotate(name, (step, 1), xytext=(4, -4), va="top", color=PHASE, **place)
