"""The training loop: a recipe, an engine and two pipelines in, the directory of a run out.

It is independent of the framework. Whatever stops it (a kill, Ctrl-C, a full disk, an image that
cannot be read, a loss that is not finite) leaves a directory that can be resumed. On CPUs a
resumed run ends with the bits of an undisturbed one, on the same machine and framework.
"""

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from .._files import file_checksum
from ..contract import refuse
from ..data.images import Preprocessing
from . import batches, parameter_groups
from .averages import Averages
from .batches import Batch, Feed, Pipeline
from .collapse import Chance, reason_to_stop
from .engines import Engine
from .events import CacheMessage, EpochDone, Event, ImagesValidated, Metric, PhaseStarted, StepDone
from .feature_cache import PipelineCache
from .interrupts import deferred_interrupts
from .parameter_groups import Plan
from .phase_weights import starting_tensors
from .recipes import Phase, Recipe
from .run import Progress, Run, describe_environment


def train(
    recipe: Recipe,
    engine: Engine,
    training: Pipeline,
    validation: Pipeline,
    run: Run | str | os.PathLike,
    *,
    resume: bool = False,
    save_every: int | None = None,
    classes: Sequence[str] | None = None,
    preprocessing: Preprocessing | None = None,
    data: str = "",
    class_counts: Sequence[int] | None = None,
    cache: PipelineCache | None = None,
    watch: Callable[[Event, int], None] | None = None,
) -> Path:
    """Train a recipe to its end.

    Args:
        recipe: what to train.
        engine: on a new model of the recipe, also to resume: it then takes over the saved state.
        training, validation: a `batches.Pipeline` of each split; the test split is not used.
        run: the directory, see `bilinear.train.run`.
        resume: continue from the last state, or start where there is none. Default: False: the
            directory must not have a run.
        save_every: also save the state after so many steps. Default: None: after each epoch.
        classes: class names, for the files of the models. Default: None.
        preprocessing: what the pipelines do to an image, for those files too. Required where the
            weights of the model state a mean and std, which must be equal. Default: None.
        data: checksum of the data, to recognize on resuming that it is the same. Default: empty.
        class_counts: training images of each class, for a recipe with balanced class weights.
            Default: None.
        cache: feature maps of both pipelines, for phases with frozen backbones. Default: None.
        watch: called with each event of `bilinear.train.events`, after it was logged, and the
            number of images of the epoch that the model has trained on so far (for
            `CacheProgress`: of images computed). Default: None.

    If the engine has several processes, each one calls this function with its own engine and
    pipelines. Process 0 alone uses `run` and calls `watch`.

    Returns: the path of the best model, by validation.

    Raises: ValueError for a recipe, model, data or run that do not fit each other;
        FloatingPointError, naming the step, for a loss that is not finite or a network that
        collapses to chance level; RuntimeError where the engine does not follow the recipe;
        KeyboardInterrupt after Ctrl-C, once the state is saved; OSError; what the pipelines raise.
    """
    batches.check_pipelines(engine, training, validation, preprocessing)
    run = run if isinstance(run, Run) else Run(run)
    meaning = {"classes": classes, "preprocessing": preprocessing}
    feed = batches.image_feed(engine, training, validation)
    weights = batches.balanced_weights(recipe, class_counts, engine.num_classes)
    loop = _Loop(recipe, engine, feed, run, save_every, meaning, weights, cache, watch)
    return loop.run_phases(resume, data)


@dataclass
class _Loop:
    """The state of `train` while it runs."""

    recipe: Recipe
    engine: Engine
    image_feed: Feed
    run: Run
    save_every: int | None
    meaning: dict[str, Any]
    class_weights: tuple[float, ...] | None
    cache: PipelineCache | None
    watch: Callable[[Event, int], None] | None

    def __post_init__(self) -> None:
        self.feed, self.progress = self.image_feed, Progress(self.recipe.checksum())
        self.processes = self.engine.processes
        self.interrupted: Callable[[], bool] = lambda: False
        self.averages = Averages(self.engine, self.recipe.ema)

    def run_phases(self, resume: bool, data: str) -> Path:
        engine, tensors = self.engine, self.engine.tensors()
        of_model = engine.streams, list(tensors), engine.learned
        # of every phase now: a wrong selector is found before hours of compute
        plans = parameter_groups.make_plans(self.recipe, *of_model, self.class_weights)
        self.progress.data = data
        if self.cache:
            self.progress.cache = f"{self.cache.cache}"
            pairs = [*zip(self.recipe.phases, plans, strict=True)]
            new = self.processes.first(lambda: not self.run.exists())
            self.cache.check(engine, pairs, new=new)
        with ExitStack() as stack:
            self.processes.first(lambda: stack.enter_context(self.run.lock()))
            # torchrun sends a signal again that the processes may already have received
            deferred = deferred_interrupts(second_raises=self.processes.count == 1)
            self.interrupted = stack.enter_context(deferred)
            buffers = self._start(resume, tensors)
            while self.progress.phase < len(plans):
                self._run_phase(plans[self.progress.phase], buffers)
                buffers = {}
        return self.run.best

    def _start(self, resume: bool, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Create the run or load its state; returns the buffers of the optimizer."""
        run, environment = self.run, describe_environment(self.engine.environment())
        own = self.progress

        def start() -> tuple[Progress, dict[str, np.ndarray], dict[str, np.ndarray]]:
            saved = run.resume(environment, tensors, own, self.recipe) if resume else None
            if saved is None:
                run.create(self.recipe, environment, again=resume)
                run.save(own, tensors, {})
            return saved or (own, tensors, {})

        self.progress, tensors, buffers = self.processes.first(start)
        self.progress.check_same(own)
        self.engine.assign(tensors)
        return buffers

    @property
    def phase(self) -> Phase:
        return self.recipe.phases[self.progress.phase]

    def _run_phase(self, plan: Plan, buffers: dict[str, np.ndarray]) -> None:
        progress, phase, views, augmentation = self.progress, self.phase, None, None
        self.engine.begin(plan)
        if self._phase_is_new:
            of_run = self.recipe, self.engine, self.engine.tensors(), self.run, progress
            self.engine.assign(self.processes.first(lambda: starting_tensors(*of_run)))
        else:
            self.engine.assign_buffers(buffers)
        self.averages.begin(plan, new=self._phase_is_new)
        self.feed = self.image_feed
        if self.cache and plan.backbones_are_frozen:
            cache = self.cache.for_phase(self.engine, phase, progress.passes - progress.epoch)
            for text in self.processes.first(cache.check), f"augmentation: {cache.augmentation}":
                self._notify(CacheMessage(text), 0)
            views, augmentation = len(cache.training), cache.augmentation
            self.feed = cache.feed(self._notify, self._check_interrupt)
        if self._phase_is_new:
            self._log(PhaseStarted(phase.name, len(plan.trained), views, augmentation))
        index = progress.phase
        while progress.phase == index:
            rest = self.feed.training.epoch(progress.passes, start=progress.batch)
            for batch, images in self._read(rest):
                self._step(plan, batch, images)
            with self.averages.in_use():
                self._end_epoch(self._validate())
            self._save()

    @property
    def _phase_is_new(self) -> bool:
        """Whether no step of the phase was done: the state from before it is as good."""
        return self.progress.epoch == self.progress.batch == 0

    def _read(self, batches_of_process: Iterable[Batch]) -> Iterator[tuple[Batch, int]]:
        of_run = self.engine.num_classes, self.processes, self.interrupted
        return batches.read_together(batches_of_process, *of_run, self._interrupt)

    def _step(self, plan: Plan, batch: Batch, images: int) -> None:
        progress, phase, engine = self.progress, self.phase, self.engine
        before = engine.tensors() if self._phase_is_new else {}
        rates = self._learning_rates()
        loss, correct = self.feed.step(batch, rates)
        if not math.isfinite(loss):
            first = ", ".join(str(int(i)) for i in np.asarray(batch.indices).ravel()[:8])
            self._stop("the loss must be finite", f"{loss} for the images {first}, …")
        if before:
            after = engine.tensors(), engine.buffers()
            parameter_groups.check_updates(phase, plan, before, *after)
        length = self.feed.training.batches_per_epoch
        self.averages.update(progress.epoch * length + progress.batch)
        progress.batch += 1
        progress.step += 1
        progress.loss += loss * images
        progress.correct += correct
        progress.images += images
        place = phase.name, progress.epoch, progress.step
        self._log(StepDone(*place, loss, correct / images, rates))
        if self.save_every and progress.step % self.save_every == 0:
            self._save()

    def _log(self, event: Metric) -> None:
        if self.processes.rank == 0:
            self.run.log(event)
        self._notify(event, self.progress.images)

    def _notify(self, event: Event, images: int) -> None:
        if self.watch and self.processes.rank == 0:
            self.watch(event, images)

    def _learning_rates(self) -> list[float]:
        """Those of the next step; while validating, those of the last one."""
        progress, phase = self.progress, self.phase
        length = self.feed.training.batches_per_epoch
        scale = phase.schedule.scale(
            epoch=progress.epoch,
            step=progress.epoch * length + min(progress.batch, length - 1),
            steps=phase.epochs * length,
            history=[value for value, _ in self._ranks()],
        )
        return [rate * scale for rate in self.recipe.learning_rates(phase)]

    def _ranks(self) -> list[list[float]]:
        """The rank of each epoch of the phase; the least is best."""
        return [batches.rank(self.recipe.monitor, measures) for measures in self.progress.history]

    def _validate(self) -> list[float]:
        progress, classes = self.progress, self.engine.num_classes
        read = self._read(self.feed.validation.epoch(0))
        calls = self.feed.logits, self._after_validation_batch, self._interrupt
        measures, counts = batches.validate(read, classes, self.processes, *calls)
        before = None if self.phase.reinitialize is not None else progress.before
        if reason := reason_to_stop(measures, progress.history, before, Chance.of(counts)):
            self._stop(*reason)
        return measures

    def _after_validation_batch(self, images: int) -> None:
        self._notify(ImagesValidated(images), self.progress.images)

    def _end_epoch(self, measures: list[float]) -> None:
        progress, phase, run = self.progress, self.phase, self.run
        progress.history.append(measures)
        ranks = self._ranks()
        chosen = ranks.index(min(ranks))
        is_best = progress.best is None or ranks[-1] < progress.best
        of_phase = run.best_of_phase(progress.phase, phase.name)
        if chosen == progress.epoch:
            self._save_model(of_phase)
        if is_best:
            self._save_model(run.best)
            progress.best = ranks[-1]
        place = phase.name, progress.epoch, progress.step
        loss, accuracy = progress.loss / progress.images, progress.correct / progress.images
        validation_loss, per_image, per_class = measures
        self._log(EpochDone(*place, loss, accuracy, validation_loss, per_image, per_class, is_best))
        progress.end_epoch()
        if phase.is_over([value for value, _ in ranks]):
            checksum = self.processes.first(lambda: file_checksum(of_phase))
            progress.end_phase(chosen, checksum)
            if progress.phase == len(self.recipe.phases):
                self._save_model(run.last)

    def _save_model(self, path: Path) -> None:
        self.engine.save(str(path), **self.meaning)

    def _save(self) -> None:
        state = self.averages.own_tensors(), self.engine.buffers()
        if self.processes.rank == 0:
            self.run.save(self.progress, *state)

    def _interrupt(self) -> KeyboardInterrupt:
        """Save the steps so far."""
        if not self._phase_is_new:
            self._save()
        return KeyboardInterrupt(f"{self.run.folder} can be resumed at step {self.progress.step}")

    def _check_interrupt(self) -> None:
        if self.interrupted():
            raise KeyboardInterrupt  # `read_together` calls `_interrupt` in all processes

    def _stop(self, invariant: str, received: str) -> NoReturn:
        progress, phase = self.progress, self.phase
        op = f"step {progress.step + 1}, epoch {progress.epoch + 1} of phase {phase.name!r}"
        rates = ", ".join(f"{rate:.3g}" for rate in self._learning_rates())
        remedy = f"The learning rates were {rates}; start again with smaller ones."
        refuse(FloatingPointError, op, invariant, received, remedy)
