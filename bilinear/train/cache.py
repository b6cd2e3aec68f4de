"""Phases in which the backbones stand still, on maps that are computed once and kept on disk.

A frozen backbone is in evaluation mode, so its maps of an image are the same in every epoch; what
follows it (projections, pool, classifier) is computed in each step, and any of it may train.

An image that is varied looks different in every epoch. Kept are `views` of it, those that the first
epochs of a phase show; the epochs after them show these again. With as many views as the phase has
epochs, a run sees what it sees without a cache.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..contract import check_argument, refuse
from ..contract.arguments import COUNT
from ..data import Pipeline
from .batches import Feed
from .engines import Engine
from .keys import images_key, model_key, varies
from .maps import GIB, Kind, Maps, amount
from .parts import BACKBONES, Plan, members
from .recipes import Phase
from .sets import Part, Tell, check_fits


@dataclass(frozen=True)
class Cache:
    """Where the maps of frozen backbones are kept, and how many.

    `views` of every training image; None is one that is not varied: the middle, not mirrored.
    Nothing is written that would bring the folder above `limit` bytes, whoever they are of; runs
    may share it, also at the same time.

    Raises: TypeError or ValueError for numbers that are none.
    """

    folder: str | os.PathLike
    views: int | None = 4
    limit: int = 20 * GIB

    def __post_init__(self) -> None:
        if self.views is not None:
            check_argument("cache", "views", self.views, COUNT)
        check_argument("cache", "limit", self.limit, COUNT)

    def __str__(self) -> str:
        return "none" if self.views is None else f"{self.views}"


class Batch(NamedTuple):
    """The maps of some images, each (N, h, w, C), their labels and places."""

    maps: tuple[np.ndarray, ...]
    labels: np.ndarray
    indices: np.ndarray


class Cached(NamedTuple):
    """A cache of the images of two pipelines.

    `training` is the one whose views are kept; for a cache of views None, one that varies nothing,
    in the order of that which trains the other phases.
    """

    cache: Cache
    training: Pipeline
    validation: Pipeline

    def of(self, engine: Engine, phase: Phase, first: int) -> "Kept":
        """For a phase that begins now, with the epoch `first` of the run."""
        epochs = range(first, first + phase.epochs)
        return Kept(self.cache, engine, self.training, self.validation, epochs)

    def check(self, engine: Engine, pairs: Sequence[tuple[Phase, Plan]], *, new: bool) -> None:
        """Before a run: that a phase has use for the cache; and in a `new` one room for them all.

        Raises: what `Kept` raises, ValueError for phases and plans in all of which backbones train,
            and for more bytes than the limit, OSError for more than the disk has.
        """
        if not any(plan.is_of_the_head for _, plan in pairs):
            invariant = "a cache is for phases in which no backbone trains"
            refuse(ValueError, "cache", invariant, "a recipe without one", "Leave the cache out.")
        _check(engine, self.training, self.validation)
        if not new:
            return
        words, asked, first, moved = [], [], 0, 0
        for phase, plan in pairs:
            moved += _moves(phase, plan, engine)
            if plan.is_of_the_head:
                kept = self.of(engine, phase, first)
                words.append(kept.words)
                # of backbones that are going to be others nothing can be there
                asked += [part.of_later(moved) if moved else part for part in kept.parts]
            first += phase.epochs
        check_fits(Path(self.cache.folder), self.cache.limit, " and ".join(words), asked)


class Kept:
    """The cache of one phase: of each training image some views, of each other one."""

    def __init__(
        self,
        cache: Cache,
        engine: Engine,
        training: Pipeline,
        validation: Pipeline,
        epochs: range,
    ) -> None:
        """Args: `epochs` of the phase, counted as `training` counts them.

        Raises: ValueError for a network of one's own, or a pipeline that skips images; OSError
            that names an image which is not there.
        """
        _check(engine, training, validation)
        self.cache, self.engine = cache, engine
        self.views = min(cache.views or 1, len(epochs)) if varies(training) else 1
        self.repeated = varies(training) and self.views < len(epochs)
        images, model = [images_key(one) for one in (training, validation)], model_key(engine)
        self.kinds = {
            shape: tuple(Kind.of(x) for x in engine.maps(np.zeros((1, *shape, 3), np.float32)))
            for shape in {one.decoder.preprocessing.shape for one in (training, validation)}
        }
        seen = epochs[: self.views]
        self.training = [self._part(model | images[0], training, epoch) for epoch in seen]
        self.validation = self._part(model | images[1], validation, 0)
        self.first = epochs.start

    def _part(self, shared: dict[str, Any], pipeline: Pipeline, epoch: int) -> Part:
        text = json.dumps(shared | {"epoch": epoch if varies(pipeline) else None}, sort_keys=True)
        folder = Path(self.cache.folder) / hashlib.sha256(text.encode()).hexdigest()
        kinds = self.kinds[pipeline.decoder.preprocessing.shape]
        return Part(folder, json.loads(text), pipeline, epoch, kinds, len(pipeline.indices))

    @property
    def parts(self) -> list[Part]:
        return [*self.training, self.validation]

    def checked(self) -> str:
        """What the phase is going to keep and to vary, in words, before any image is read.

        Raises: ValueError for more bytes than the limit, OSError for more than the disk has.
        """
        folder, limit = Path(self.cache.folder), self.cache.limit
        there = amount(check_fits(folder, limit, self.words, self.parts))
        return (
            f"cache: {self.words}, {there} of it there, {amount(limit)} allowed in {folder}\n"
            f"augmentation: {self.augmentation()}"
        )

    @property
    def words(self) -> str:
        """What is kept."""
        views = f"{self.views} view{'s' if self.views > 1 else ''}"
        images = f"{self.training[0].count:,} images × {views}"
        kinds, others = (" and ".join(map(str, part.kinds)) for part in self.parts[-2:])
        varying = "" if kinds == others else f", {kinds} each,"
        validated = f"{self.validation.count:,} for validation, {others} each"
        size = sum(part.bytes for part in self.parts)
        return f"maps of {images}{varying} and of {validated}: {amount(size)}"

    def noted(self) -> dict[str, Any]:
        """What the metrics say of it."""
        return {"views": self.views, "augmentation": self.augmentation()}

    def augmentation(self) -> str:
        """What of it a cached phase keeps, in words."""
        if self.cache.views is None:
            return "none: every epoch sees the same crops"
        if not self.repeated:
            return "as without a cache"
        if self.views == 1:
            return "1 cached view of each image, repeated every epoch"
        return f"{self.views} cached views of each image, repeated every {self.views} epochs"

    def feed(self, tell: Tell, pause: Callable[[], None]) -> Feed:
        """The phase on what is kept. `pause` is called before each batch that is computed."""

        def filled(part: Part) -> Maps:
            return part.filled(self.engine, self.cache.limit, tell, pause)

        engine = self.engine
        return Feed(
            Stored(self.training, filled, self.first),
            Stored([self.validation], filled, 0),
            lambda batch, rates: engine.head_step(batch.maps, batch.labels, rates),
            lambda batch: engine.head_logits(batch.maps),
        )


class Stored:
    """The batches of a pipeline, as maps: of each image the view whose turn it is."""

    def __init__(self, parts: Sequence[Part], filled: Callable[[Part], Maps], first: int) -> None:
        self._parts, self._filled, self._first = parts, filled, first
        self._pipeline = parts[0].pipeline
        self.batches_per_epoch = self._pipeline.batches_per_epoch

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        maps = self._filled(self._parts[(epoch - self._first) % len(self._parts)])
        pipeline = self._pipeline
        items, places = pipeline.index.items, pipeline.indices
        for chunk in pipeline.batch_indices(epoch, start):
            labels = np.array([items[i].label for i in chunk], np.int64)
            yield Batch(maps.rows(np.searchsorted(places, chunk)), labels, chunk)


def _check(engine: Engine, *pipelines: Pipeline) -> None:
    """Raises: ValueError for a network of one's own, or a pipeline that skips images."""
    if None in engine.streams.names:
        remedy = "What decides its maps beside its weights cannot be known."
        invariant = "maps are kept of named backbones"
        refuse(ValueError, "cache", invariant, "a network of your own", remedy)
    for pipeline in pipelines:
        if pipeline.on_error == "skip":
            invariant = f"the {pipeline.split} pipeline must give every image"
            remedy = 'Mend the images, and use on_error="raise".'
            refuse(ValueError, "cache", invariant, 'on_error="skip"', remedy)


def _moves(phase: Phase, plan: Plan, engine: Engine) -> bool:
    """Whether a phase changes the backbones."""
    if phase.reinitialize is None:
        return not plan.is_of_the_head
    drawn = members(phase.reinitialize, engine.streams, list(engine.tensors()))
    return not plan.is_of_the_head or any(n.partition(".")[0] in BACKBONES for n in drawn)
