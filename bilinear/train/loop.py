"""The one loop: a recipe, an engine and two pipelines in, a directory out.

It knows no framework. Whatever stops it (a killed process, Ctrl-C, a full disk, an image that
cannot be read, a loss that is not a number) leaves a directory that can be resumed. On CPUs a
resumed run ends bit by bit where an undisturbed one does, on the same machine and framework.
"""

import math
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from ..contract import refuse
from ..data.images import Preprocessing
from . import parts, schedules
from .batches import Batch, Feed, Pipeline, check_labels, check_pipelines, some, through
from .cache import Cached, Kept
from .collapse import Chance, unlearned
from .engines import Engine
from .evaluation import judged
from .interrupts import deferred_interrupts
from .recipes import Phase, Recipe
from .run import Progress, Run, environment, tensors_of


def train(
    recipe: Recipe,
    engine: Engine,
    training: Pipeline,
    validation: Pipeline,
    folder: str | os.PathLike,
    *,
    resume: bool = False,
    save_every: int | None = None,
    classes: Sequence[str] | None = None,
    preprocessing: Preprocessing | None = None,
    data: str = "",
    cache: Cached | None = None,
    watch: Callable[[Mapping[str, Any], int], None] | None = None,
) -> Path:
    """Run a recipe to its end; the path of the best model, by validation.

    Args:
        engine: on a new model of the recipe, also to resume: it then takes over the state.
        training, validation: a `batches.Pipeline` of each; the test part is nowhere asked for.
        folder: of the run, see `bilinear.train.run`. A new run needs one without a run.
        resume: go on from the last state, or start where there is none yet.
        save_every: write the state after so many steps too, not only after each epoch.
        classes: names, for the files of the models.
        preprocessing: what the pipelines do to an image, for those files too. Where the model's
            weights say how images were normalised, it must be given and say the same.
        data: the checksum of the data, by which a resumed run knows that it is the same.
        cache: of the images of both pipelines, for phases in which no backbone moves.
        watch: called with each event of the metrics, once it is written, and the number of images
            that the epoch has trained on so far; to show progress. It also sees what the metrics
            do not have: ``{"event": "validated", "images": …}``, with the number so far, and of a
            cache ``{"event": "cache", "text": …}``, what it is going to take or waits for, and
            ``{"event": "fill", "images": …}`` with the number that were computed.

    Raises: ValueError for a recipe, model or data that do not fit each other, or the run;
        FloatingPointError, naming the step, for a loss that is not finite or a phase that
        collapses; RuntimeError where the engine trains what it should not; KeyboardInterrupt
        after Ctrl-C, when the state is written; OSError; what the pipelines raise.
    """
    check_pipelines(engine, training, validation, preprocessing)
    meaning = {"classes": classes, "preprocessing": preprocessing}
    images = through(engine, training, validation)
    loop = _Loop(recipe, engine, images, Run(folder), save_every, meaning, cache, watch)
    return loop.run_all(resume, data)


class _Loop:
    """The state of `train` while it runs."""

    def __init__(
        self,
        recipe: Recipe,
        engine: Engine,
        images: Feed,
        run: Run,
        save_every: int | None,
        meaning: dict[str, Any],
        cache: Cached | None,
        watch: Callable[[Mapping[str, Any], int], None] | None,
    ) -> None:
        self.recipe, self.engine, self.run = recipe, engine, run
        self.images, self.feed, self.cache = images, images, cache
        self.save_every, self.meaning, self.watch = save_every, meaning, watch
        self.progress = Progress(recipe.checksum())
        self.interrupted: Callable[[], bool] = lambda: False

    def run_all(self, resume: bool, data: str) -> Path:
        engine, tensors = self.engine, self.engine.tensors()
        plans = [  # all of them first: a part that names nothing is found before hours of compute
            parts.plan(phase, engine.streams, list(tensors), engine.learned)
            for phase in self.recipe.phases
        ]
        self.progress.data = data
        if self.cache:
            self.progress.cache = f"{self.cache.cache}"
            pairs = [*zip(self.recipe.phases, plans, strict=True)]
            self.cache.check(engine, pairs, new=not self.run.exists())
        with self.run.locked(), deferred_interrupts() as self.interrupted:
            buffers = self._begun(resume, tensors)
            while self.progress.phase < len(plans):
                self._phase(plans[self.progress.phase], buffers)
                buffers = {}
        return self.run.best

    def _begun(self, resume: bool, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Make the run or take over its state; the momentum of what trains there."""
        run, settings = self.run, environment(self.engine.environment())
        if resume and run.state.exists():
            self._check_same(settings)
            run.sweep()
            self.progress, tensors, buffers = run.load(tensors, self.progress)
            self.engine.assign(tensors)
            return buffers
        if not (resume and run.exists()):
            run.start(self.recipe, settings)
        self._save()
        return {}

    @property
    def phase(self) -> Phase:
        return self.recipe.phases[self.progress.phase]

    def _phase(self, plan: parts.Plan, buffers: dict[str, np.ndarray]) -> None:
        progress, phase = self.progress, self.phase
        self.engine.begin(plan)
        if self._is_new:
            self._enter(phase)
        else:
            self.engine.assign_buffers(buffers)
        kept = self._kept(plan)
        self.feed = kept.feed(self._tell, self._check_interrupt) if kept else self.images
        if self._is_new:
            event = {"event": "phase", "phase": phase.name, "trained": len(plan.trained)}
            self._log(event | (kept.noted() if kept else {}))
        number = progress.phase
        while progress.phase == number:
            for batch in self._batches():
                self._step(plan, batch)
            self._end_epoch(*self._validated())
            self._save()

    def _kept(self, plan: parts.Plan) -> Kept | None:
        """The cache of this phase, if it has one; what it takes is said first."""
        if self.cache is None or not plan.is_of_the_head:
            return None
        kept = self.cache.of(self.engine, self.phase, self.progress.passes - self.progress.epoch)
        self._tell({"event": "cache", "text": kept.checked()}, 0)
        return kept

    @property
    def _is_new(self) -> bool:
        """Whether nothing was done in this phase: the state before says the same."""
        return self.progress.epoch == self.progress.batch == 0

    def _enter(self, phase: Phase) -> None:
        """The weights that a phase starts from; done again, it gives the same."""
        engine, number = self.engine, self.progress.phase
        if number and phase.start == "best":
            best = self.run.phase(number - 1, self.recipe.phases[number - 1].name)
            engine.assign(tensors_of(best, engine.tensors()))
        if phase.reinitialize is not None:
            drawn = parts.redrawn(phase.reinitialize, engine, [self.recipe.seed, number])
            engine.assign(drawn)

    def _batches(self) -> Iterator[Batch]:
        """The rest of the epoch."""
        with self._kept_steps():
            yield from self.feed.training.epoch(self.progress.passes, start=self.progress.batch)

    @contextmanager
    def _kept_steps(self) -> Iterator[None]:
        """Where an image cannot be read, or judged, the steps before are kept."""
        try:
            yield
        except Exception:
            if not self._is_new:
                self._save()
            raise

    def _step(self, plan: parts.Plan, batch: Batch) -> None:
        progress, phase, engine = self.progress, self.phase, self.engine
        check_labels(batch.labels, engine.num_classes)
        before = engine.tensors() if self._is_new else {}
        rates = self._rates()
        loss = self.feed.step(batch, rates)
        if not math.isfinite(loss):
            self._stop("the loss must be finite", f"{loss}{some(batch)}")
        if before:
            parts.check_moved(phase, plan, before, engine.tensors(), engine.buffers())
        progress.batch += 1
        progress.step += 1
        progress.loss += loss * len(batch.labels)
        progress.images += len(batch.labels)
        place = {"phase": phase.name, "epoch": progress.epoch, "step": progress.step}
        self._log({"event": "step", **place, "loss": loss, "rates": rates})
        if self.save_every and progress.step % self.save_every == 0:
            self._save()
        self._check_interrupt()

    def _log(self, event: Mapping[str, Any]) -> None:
        self.run.log(event)
        self._tell(event, self.progress.images)

    def _tell(self, event: Mapping[str, Any], images: int) -> None:
        if self.watch:
            self.watch(event, images)

    def _rates(self) -> list[float]:
        """Of the next step; of the last one, when validating."""
        progress, phase = self.progress, self.phase
        length = self.feed.training.batches_per_epoch
        scale = phase.schedule.scale(
            epoch=progress.epoch,
            step=progress.epoch * length + min(progress.batch, length - 1),
            steps=phase.epochs * length,
            history=self._monitored(),
        )
        return [group.rate * scale for group in phase.groups]

    def _monitored(self) -> list[float]:
        """What decides, of each epoch of the phase; smaller is better."""
        if self.recipe.monitor == "loss":
            return [loss for loss, _ in self.progress.history]
        return [-accuracy for _, accuracy in self.progress.history]

    def _validated(self) -> tuple[float, float]:
        progress, classes = self.progress, self.engine.num_classes
        with self._kept_steps():
            total, counts = judged(self.feed, classes, self._paused)
        loss, accuracy = total.means
        if not math.isfinite(loss):
            self._stop("the validation loss must be finite", f"{loss}")
        before = None if self.phase.reinitialize is not None else progress.before
        lost = unlearned((loss, accuracy), progress.history, before, Chance.of(counts))
        if lost is not None:
            received = f"validation accuracy {lost:.3f}, now {accuracy:.3f} at a loss of {loss:.3g}"
            self._stop("a phase must not unlearn what was learned before", received)
        return loss, accuracy

    def _paused(self, images: int) -> None:
        """Between two batches of validation."""
        self._tell({"event": "validated", "images": images}, self.progress.images)
        self._check_interrupt()

    def _end_epoch(self, loss: float, accuracy: float) -> None:
        progress, phase = self.progress, self.phase
        earlier = min(self._monitored(), default=math.inf)
        progress.history.append([loss, accuracy])
        value = self._monitored()[-1]
        best = progress.best is None or value < progress.best
        if value < earlier:
            self._save_model(self.run.phase(progress.phase, phase.name))
        if best:
            self._save_model(self.run.best)
            progress.best = value
        place = {"phase": phase.name, "epoch": progress.epoch, "step": progress.step}
        self._log(
            {"event": "epoch", **place, "training_loss": progress.loss / progress.images}
            | {"validation_loss": loss, "validation_accuracy": accuracy, "best": best}
        )
        progress.passes += 1
        progress.epoch += 1
        progress.batch, progress.loss, progress.images = 0, 0.0, 0
        if progress.epoch == phase.epochs or schedules.is_over(self._monitored(), phase.patience):
            chosen = self._monitored().index(min(self._monitored()))
            progress.before = progress.history[chosen]
            progress.phase, progress.epoch, progress.history = progress.phase + 1, 0, []

    def _save(self) -> None:
        self.run.save(self.progress, self.engine.tensors(), self.engine.buffers())

    def _save_model(self, path: Path) -> None:
        self.engine.save(str(path), **self.meaning)

    def _check_interrupt(self) -> None:
        if self.interrupted():
            if not self._is_new:
                self._save()
            raise KeyboardInterrupt(
                f"{self.run.folder} can be resumed at step {self.progress.step}"
            )

    def _check_same(self, settings: dict[str, Any]) -> None:
        """A warning where a run goes on under other conditions."""
        if differing := self.run.differing(settings):
            text = f"{self.run.folder} was begun elsewhere ({', '.join(differing)} differ)"
            warnings.warn(f"{text}: its end will not be bit-identical", stacklevel=5)

    def _stop(self, invariant: str, received: str) -> NoReturn:
        progress, phase = self.progress, self.phase
        place = f"step {progress.step + 1}, epoch {progress.epoch} of phase {phase.name!r}"
        rates = ", ".join(f"{rate:.3g}" for rate in self._rates())
        remedy = f"The rates were {rates}; start again with smaller ones."
        refuse(FloatingPointError, place, invariant, received, remedy)
