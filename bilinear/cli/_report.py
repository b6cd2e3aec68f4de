"""The report of a training run on stderr."""

from collections.abc import Callable
from datetime import timedelta

from ..train import Recipe, events
from ._console import Progress, say


class Reporter:
    """Report a run on stderr: a line for each phase and epoch, and progress within an epoch."""

    def __init__(
        self, recipe: Recipe, images: tuple[int, int], on_start: Callable[[], None]
    ) -> None:
        training, self._validation_images = images
        self._batch = recipe.batch_size
        self._training_images = training - (training % self._batch if recipe.drop_last else 0)
        self._progress: Progress | None = None
        self._title, self._seen = "", 0
        self._on_start: Callable[[], None] | None = on_start  # called when the run has its folder

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
                say(f"phase {event.phase}: {event.trained} trainable tensors")
            case events.CacheMessage():
                say(event.text)
            case events.CacheProgress():
                title = f"computing feature maps, {event.split} images, epoch {event.epoch}"
                self._advance(title, event.images, 0, seen)
                if seen == event.images:
                    self._end()
            case events.StepDone():
                # a resumed epoch starts in the middle
                self._advance("", self._training_images, max(seen - self._batch, 0), seen)
                if seen == self._training_images:
                    self._end()
                    say(f"validating on {self._validation_images:,} images")
            case events.ImagesValidated():
                self._advance("", self._validation_images, 0, event.images)
            case _:
                self._end()
                losses = f"loss {event.training_loss:.4f}"
                losses += f", validation loss {event.validation_loss:.4f}"
                accuracy = f"accuracy {event.validation_accuracy:.1%}"
                best = " (best so far)" if event.best else ""
                say(f"phase {event.phase}, epoch {event.epoch}: {losses}, {accuracy}{best}")

    def _advance(self, title: str, total: int, start: int, done: int) -> None:
        """Update the progress of the current activity; print a new `title`; begin at `start`."""
        if self._progress is None or title != self._title:
            self._end()
            if title:
                say(title)
            self._title, self._seen = title, start
            self._progress = Progress(total - start).__enter__()
        self._progress.advance(done - self._seen)
        self._seen = done

    def _end(self) -> None:
        if self._progress:
            self._progress.__exit__(None)
        self._progress = None
