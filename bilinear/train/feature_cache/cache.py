"""Phases with frozen backbones, on feature maps that are computed once and stored on disk.

The maps of an image are the same in every epoch; projections, pool and classifier may train. The
versions of augmented images that the first `views` epochs of a phase show are shown again in turn:
with as many views as epochs, a run sees the same images as without a cache.
"""

import functools
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...contract import refuse
from ...data import Pipeline
from ...data.images import Preprocessing
from ..batches import Feed
from ..engines import Engine
from ..events import CacheMessage, CacheProgress, Event
from ..parameter_groups import BACKBONES, Plan, select_tensors
from ..recipes import Phase
from ..validation import Count, validated
from .files import GIB, FeatureMaps, MapSet, MapSpec, check_space, format_bytes, write_maps
from .keys import images_key, is_augmented, model_key

Notify = Callable[[Event, int], None]
"""Receives an event and the number of images that are done."""


@validated
class Cache:
    """Where the feature maps of frozen backbones are stored, and how many.

    Args:
        folder: several runs may share it, also at the same time.
        views: versions of each augmented training image, 1 or more. Default: 4. None stores one
            version without augmentation: the center crop.
        limit: bytes of the whole folder above which nothing is written, whichever run wrote them.
            Default: 20 GiB.

    Raises: ValueError for other values.
    """

    folder: str | os.PathLike
    views: Count | None = 4
    limit: Count = 20 * GIB

    def __str__(self) -> str:
        return "none" if self.views is None else f"{self.views}"


class View(NamedTuple):
    """The feature maps of every image of a split, as one epoch shows them."""

    maps: MapSet
    pipeline: Pipeline
    epoch: int

    def load(
        self, engine: Engine, limit: int, notify: Notify, check_interrupt: Callable[[], None]
    ) -> FeatureMaps:
        """The feature maps, computed now by process 0 unless they are stored."""
        folder, notified = self.maps.folder, []

        def waiting() -> None:
            check_interrupt()
            if not notified:
                notified.append(True)
                text = f"cache: waiting for another process that writes to {folder.parent}"
                notify(CacheMessage(text), 0)

        def compute() -> Iterator[Sequence[np.ndarray]]:
            progress, done = CacheProgress(self.pipeline.split, self.epoch, self.maps.count), 0
            for batch in self.pipeline.in_order(self.epoch):
                check_interrupt()
                yield engine.maps(batch.images)
                done += len(batch.labels)
                notify(progress, done)

        def write() -> None:
            if not folder.exists():
                write_maps(self.maps, compute, limit=limit, waiting=waiting)

        engine.processes.first(write)
        return FeatureMaps(self.maps)


class Batch(NamedTuple):
    """The feature maps of some images, each (N, h, w, C), their labels and indices."""

    maps: tuple[np.ndarray, ...]
    labels: np.ndarray
    indices: np.ndarray


class PipelineCache(NamedTuple):
    """A cache of two pipelines; with ``views=None``, `training` has no augmentation."""

    cache: Cache
    training: Pipeline
    validation: Pipeline

    def for_phase(self, engine: Engine, phase: Phase, first: int) -> "PhaseCache":
        """For a phase that starts now, with the epoch `first` of the run."""
        return PhaseCache(self, engine, range(first, first + phase.epochs))

    def check(self, engine: Engine, pairs: Sequence[tuple[Phase, Plan]], *, new: bool) -> None:
        """Refuse a cache that no phase can use (ValueError), or without space (or OSError)."""
        if not any(plan.backbones_are_frozen for _, plan in pairs):
            invariant = "a cache needs a phase in which no backbone trains"
            refuse(ValueError, "cache", invariant, "a recipe without one", "Leave the cache out.")
        _check_cacheable(engine, self.training, self.validation)
        if not new:
            return
        descriptions, asked, first, changes = [], [], 0, 0
        for phase, plan in pairs:
            changes += _changes_backbones(phase, plan, engine)
            if plan.backbones_are_frozen:
                of_phase = self.for_phase(engine, phase, first)
                descriptions.append(of_phase.description)
                for maps, *_ in of_phase.views:
                    # nothing can be stored yet for backbones that an earlier phase changes
                    name = f"{maps.folder.name}-{changes}" if changes else maps.folder.name
                    asked.append(maps._replace(folder=maps.folder.with_name(name)))
            first += phase.epochs
        check_space(Path(self.cache.folder), self.cache.limit, " and ".join(descriptions), asked)


class PhaseCache:
    """The cache of one phase: some views of each training image, one of each validation image."""

    def __init__(self, of: PipelineCache, engine: Engine, epochs: range) -> None:
        """`epochs` are those of the phase, counted as the pipeline counts them.

        Raises: ValueError for a user-defined backbone or a pipeline that skips images; OSError
            that names a missing image.
        """
        cache, training, validation = of
        _check_cacheable(engine, training, validation)
        self.cache, self.engine, self.first = cache, engine, epochs.start
        count = min(cache.views or 1, len(epochs)) if is_augmented(training) else 1
        self.is_repeated = is_augmented(training) and count < len(epochs)
        model = model_key(engine)

        @functools.cache
        def specs_of(preprocessing: Preprocessing) -> tuple[MapSpec, ...]:
            shape = 1, *preprocessing.shape, preprocessing.channels
            return tuple(map(MapSpec.of, engine.maps(np.zeros(shape, np.float32))))

        def views(pipeline: Pipeline, epochs: range) -> list[View]:
            specs, result = specs_of(pipeline.decoder.preprocessing), []
            images = images_key(pipeline)
            for epoch in epochs:
                about = model | images | {"epoch": epoch if is_augmented(pipeline) else None}
                text = json.dumps(about, sort_keys=True)
                folder = Path(cache.folder) / hashlib.sha256(text.encode()).hexdigest()
                maps = MapSet(folder, specs, len(pipeline.indices), json.loads(text))
                result.append(View(maps, pipeline, epoch))
            return result

        self.training = views(training, epochs[:count])
        (self.validation,) = views(validation, range(1))

    @property
    def views(self) -> list[View]:
        return [*self.training, self.validation]

    def check(self) -> str:
        """What the phase stores. Raises: ValueError or OSError for too many bytes."""
        folder, limit = Path(self.cache.folder), self.cache.limit
        maps = [view.maps for view in self.views]
        stored = format_bytes(check_space(folder, limit, self.description, maps))
        return (
            f"cache: {self.description}, {stored} of it stored, {format_bytes(limit)} allowed in "
            f"{folder}"
        )

    @property
    def description(self) -> str:
        """What is stored, with its size."""
        count = len(self.training)
        training, validation = self.training[0].maps, self.validation.maps
        images = f"{training.count:,} images × {count} view{'s' if count > 1 else ''}"
        specs, others = (" and ".join(map(str, maps.specs)) for maps in (training, validation))
        differing = "" if specs == others else f", {specs} each,"
        validated = f"{validation.count:,} for validation, {others} each"
        size = format_bytes(sum(view.maps.bytes for view in self.views))
        return f"feature maps of {images}{differing} and of {validated}: {size}"

    @property
    def augmentation(self) -> str:
        """How much of the augmentation remains in a phase that reads the cache."""
        if self.cache.views is None:
            return "none: every epoch sees the same crops"
        if not self.is_repeated:
            return "as without a cache"
        if len(self.training) == 1:
            return "1 cached view of each image, repeated every epoch"
        count = len(self.training)
        return f"{count} cached views of each image, repeated every {count} epochs"

    def feed(self, notify: Notify, check_interrupt: Callable[[], None]) -> Feed:
        """Batches of stored feature maps; `check_interrupt` is called before each computed one."""

        def load(view: View) -> FeatureMaps:
            return view.load(self.engine, self.cache.limit, notify, check_interrupt)

        engine = self.engine
        return Feed(
            CachedPipeline(self.training, load, self.first),
            CachedPipeline([self.validation], load, 0),
            lambda batch, rates: engine.head_step(batch.maps, batch.labels, rates),
            lambda batch: engine.head_logits(batch.maps),
        )


class CachedPipeline:
    """The batches of a pipeline as feature maps; the views of an image take turns."""

    def __init__(
        self, views: Sequence[View], load: Callable[[View], FeatureMaps], first: int
    ) -> None:
        self._views, self._load, self._first = views, load, first
        self._pipeline = views[0].pipeline
        self.batches_per_epoch = self._pipeline.batches_per_epoch

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        maps = self._load(self._views[(epoch - self._first) % len(self._views)])
        pipeline = self._pipeline
        for chunk in map(pipeline.own_part, pipeline.batch_indices(epoch, start)):
            labels = np.array([pipeline.index.items[i].label for i in chunk], np.int64)
            yield Batch(maps.rows(np.searchsorted(pipeline.indices, chunk)), labels, chunk)


def _check_cacheable(engine: Engine, *pipelines: Pipeline) -> None:
    """Raises: ValueError for a user-defined backbone, or a pipeline that skips images."""
    if None in engine.streams.names:
        remedy = "Leave the cache out: what else its feature maps depend on is unknown."
        invariant = "cached feature maps need named backbones"
        refuse(ValueError, "cache", invariant, "a user-defined backbone", remedy)
    for pipeline in pipelines:
        if pipeline.on_error == "skip":
            invariant = f"the {pipeline.split} pipeline must give every image"
            remedy = 'Repair the images, and use on_error="raise".'
            refuse(ValueError, "cache", invariant, 'on_error="skip"', remedy)


def _changes_backbones(phase: Phase, plan: Plan, engine: Engine) -> bool:
    if phase.reinitialize is None or not plan.backbones_are_frozen:
        return not plan.backbones_are_frozen
    drawn = select_tensors(phase.reinitialize, engine.streams, list(engine.tensors()))
    return any(name.partition(".")[0] in BACKBONES for name in drawn)
