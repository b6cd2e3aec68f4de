"""The report of a training run on stderr."""

import math
import time
from collections.abc import Callable, Sequence
from datetime import timedelta

from ..train import Phase, Recipe, events
from ..train.estimate import passes
from ._console import Progress, say


class Reporter:
    """Report a run on stderr: a line for each phase and epoch, and progress within an epoch."""

    def __init__(
        self,
        recipe: Recipe,
        images: tuple[int, int],
        on_start: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        training, self._validation_images = images
        self._batch = recipe.batch_size
        self._training_images = training - (training % self._batch if recipe.drop_last else 0)
        self._recipe, self._phases, self._clock = recipe, recipe.phases, clock
        self._progress: Progress | None = None
        self._title, self._seen = "", 0
        self._on_start: Callable[[], None] | None = on_start  # called when the run has its folder
        self._rates: Sequence[float] = ()
        self._origin: tuple[float, float] | None = None

    def __enter__(self) -> "Reporter":
        return self

    def __exit__(self, kind: type | None, error: object = None, *rest: object) -> None:
        if self._progress:
            self._progress.__exit__(kind, error, *rest)
        if kind is KeyboardInterrupt:  # the parser drops its message
            say(f"{error}")

    def __call__(self, event: events.Event, seen: int) -> None:
        """Report an event; `seen` is the number of training images of this epoch so far."""
        if isinstance(event, events.TimeEstimated):
            say(f"estimated time: {timedelta(seconds=round(event.seconds))}")
            return
        if self._on_start:
            self._on_start()
            self._on_start = None
        match event:
            case events.PhaseStarted():
                phase = self._phases[self._index(event.phase)]
                rates = _rates(phase, self._recipe.learning_rates(phase))
                counts = f"{event.trained} trainable tensors, epochs: {phase.epochs}"
                say(f"{self._name(event.phase)}: {counts}, {rates}")
                self._rates, self._origin = (), None
            case events.CacheMessage():
                say(event.text)
            case events.CacheProgress():
                title = f"computing feature maps, {event.split} images, epoch {event.epoch + 1}"
                self._advance(title, event.images, 0, seen)
                if seen == event.images:
                    self._end()
            case events.StepDone():
                self._report_step(event, seen)
            case events.ImagesValidated():
                self._advance("", self._validation_images, 0, event.images)
            case _:
                self._end()
                self._report_epoch(event)

    def _report_step(self, event: events.StepDone, seen: int) -> None:
        phase, first = self._phases[self._index(event.phase)], seen <= self._batch
        name = f"{self._name(event.phase)}, epoch {event.epoch + 1}/{phase.epochs}"
        is_stepwise = phase.schedule.kind in ("step", "plateau")
        if first and is_stepwise and self._rates and event.rates != self._rates:
            say(f"{name}: {_rates(phase, event.rates)} instead of {_rates(phase, self._rates)}")
        self._rates = event.rates
        rates = _rates(phase, event.rates)
        measures = f"loss {event.loss:.4f}, accuracy {event.accuracy:.1%}"
        detail = f"{name}, step {event.step:,}, {measures}, {rates}: "
        # a resumed epoch starts in the middle
        self._advance("", self._training_images, max(seen - self._batch, 0), seen, detail)
        if seen == self._training_images:
            self._end()
            say(f"validating on {self._validation_images:,} images")
        if self._origin is None:
            self._origin = self._clock(), self._work_left(event, seen)

    def _report_epoch(self, event: events.EpochDone) -> None:
        phase = self._phases[self._index(event.phase)]
        parts = [f"loss {event.training_loss:.4f}, validation loss {event.validation_loss:.4f}"]
        parts.append(f"accuracy {event.training_accuracy:.1%}")
        best = " (best so far)" if event.best else ""
        parts.append(f"validation accuracy {event.validation_accuracy:.1%}{best}")
        if self._recipe.monitor == "mean_class_accuracy":
            parts.append(f"mean of the classes {event.validation_class_accuracy:.1%}")
        if self._rates:
            parts.append(_rates(phase, self._rates))
        if (left := self._time_left(event)) is not None:
            parts.append(f"about {left} left")
        name = f"{self._name(event.phase)}, epoch {event.epoch + 1}/{phase.epochs}"
        say(f"{name}: {', '.join(parts)}")

    def _time_left(self, event: events.EpochDone) -> timedelta | None:
        """The time of the epochs that are left, if each image takes as long as in this phase."""
        left = self._work_left(event, self._training_images) - self._validation_images
        if self._origin is None or left <= 0 or (done := self._origin[1] - left) <= 0:
            return None
        return timedelta(seconds=math.ceil((self._clock() - self._origin[0]) * left / done))

    def _work_left(self, event: events.StepDone | events.EpochDone, seen: int) -> float:
        """Forward and backward passes of images, after `seen` training images of an epoch."""
        index = self._index(event.phase)
        left = -passes(self._phases[index]) * seen
        for phase in self._phases[index:]:
            done = event.epoch if phase.name == event.phase else 0
            epoch = passes(phase) * self._training_images + self._validation_images
            left += (phase.epochs - done) * epoch
        return left

    def _index(self, name: str) -> int:
        return [phase.name for phase in self._phases].index(name)

    def _name(self, name: str) -> str:
        return f"phase {name} {self._index(name) + 1}/{len(self._phases)}"

    def _advance(self, title: str, total: int, start: int, done: int, detail: str = "") -> None:
        """Update the progress of the current activity; print a new `title`; begin at `start`."""
        if self._progress is None or title != self._title:
            self._end()
            if title:
                say(title)
            self._title, self._seen = title, start
            self._progress = Progress(total - start).__enter__()
        self._progress.advance(done - self._seen, detail)
        self._seen = done

    def _end(self) -> None:
        if self._progress:
            self._progress.__exit__(None)
        self._progress = None


def _rates(phase: Phase, rates: Sequence[float]) -> str:
    """The learning rates, with the names of the parameter groups if there are several."""
    names = [f"{group.parameters} " if len(rates) > 1 else "" for group in phase.groups]
    pairs = zip(names, rates, strict=True)
    return f"learning rate {', '.join(f'{name}{rate:.3g}' for name, rate in pairs)}"
