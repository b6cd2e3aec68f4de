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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..contract import refuse
from ..contract._counts import check_count
from ..data import Pipeline
from .batches import Feed
from .engines import Engine
from .keys import images_key, model_key, varies
from .maps import GIB, Kind, Maps, amount, bytes_of, check_room, write
from .parts import Plan
from .recipes import Phase

Tell = Callable[[Mapping[str, Any], int], None]
"""Takes an event, and the number of images that are done."""


@dataclass(frozen=True)
class Cache:
    """Where the maps of frozen backbones are kept, and how many.

    `views` of every training image; None is one that is not varied: the middle, not mirrored. The
    folder may hold `limit` bytes, whoever they are of; runs may share it, also at the same time.

    Raises: TypeError or ValueError for numbers that are none.
    """

    folder: str | os.PathLike
    views: int | None = 4
    limit: int = 20 * GIB

    def __post_init__(self) -> None:
        if self.views is not None:
            check_count("cache", "views", self.views, "None keeps one view that is not varied.")
        check_count("cache", "limit", self.limit, "It is a number of bytes.")

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
        """Before a run: that a phase has use for the cache; and in a `new` one room for the first.

        Raises: what `Kept.checked` raises, and ValueError for phases and plans in all of which
            backbones train.
        """
        if not any(plan.is_of_the_head for _, plan in pairs):
            invariant = "a cache is for phases in which no backbone trains"
            refuse(ValueError, "cache", invariant, "a recipe without one", "Leave the cache out.")
        phase, plan = pairs[0]
        if new and plan.is_of_the_head:
            self.of(engine, phase, 0).checked()


class Part(NamedTuple):
    """The maps of every image of a part, as one epoch shows them."""

    folder: Path
    about: dict[str, Any]
    pipeline: Pipeline
    epoch: int
    kinds: tuple[Kind, ...]
    count: int

    @property
    def bytes(self) -> int:
        return self.count * sum(kind.bytes for kind in self.kinds)

    def filled(self, engine: Engine, tell: Tell, pause: Callable[[], None]) -> Maps:
        """The maps, which are computed now where nobody did before."""
        if not self.folder.exists():
            write(
                self.folder,
                self.kinds,
                self.count,
                lambda: self._computed(engine, tell, pause),
                self.about,
            )
        return Maps(self.folder, self.kinds, self.count, self.about)

    def _computed(
        self, engine: Engine, tell: Tell, pause: Callable[[], None]
    ) -> Iterator[Sequence[np.ndarray]]:
        event = {"event": "fill", "part": self.pipeline.part, "epoch": self.epoch}
        done = 0
        for batch in self.pipeline.in_order(self.epoch):
            pause()
            yield engine.maps(batch.images)
            done += len(batch.labels)
            tell(event | {"images": self.count}, done)


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

        Raises: ValueError for a network of one's own.
        """
        if None in engine.streams.names:
            remedy = "What decides its maps beside its weights cannot be known."
            invariant = "maps are kept of named backbones"
            refuse(ValueError, "cache", invariant, "a network of your own", remedy)
        self.cache, self.engine = cache, engine
        self.views = min(cache.views or 1, len(epochs)) if varies(training) else 1
        self.repeated = varies(training) and self.views < len(epochs)
        blank = np.zeros((1, *training.decoder.preprocessing.shape, 3), np.float32)
        self.kinds = tuple(Kind.of(x) for x in engine.maps(blank))
        model = model_key(engine)
        self.training = self._parts(model, training, epochs[: self.views])
        self.validation = self._parts(model, validation, range(1))[0]
        self.first = epochs.start

    def _parts(self, model: dict[str, Any], pipeline: Pipeline, epochs: range) -> list[Part]:
        shared = model | images_key(pipeline)
        return [self._part(shared, pipeline, epoch) for epoch in epochs]

    def _part(self, shared: dict[str, Any], pipeline: Pipeline, epoch: int) -> Part:
        text = json.dumps(shared | {"epoch": epoch if varies(pipeline) else None}, sort_keys=True)
        folder = Path(self.cache.folder) / hashlib.sha256(text.encode()).hexdigest()
        count = len(pipeline.places)
        return Part(folder, json.loads(text), pipeline, epoch, self.kinds, count)

    def checked(self) -> str:
        """What the phase is going to keep and to vary, in words, before any image is read.

        Raises: ValueError for more bytes than the limit, OSError for more than the disk has.
        """
        parts = {part.folder: part for part in (*self.training, self.validation)}
        size = sum(part.bytes for part in parts.values())
        there = {path: bytes_of(path) for path in Path(self.cache.folder).glob("*/")}
        others = sum(taken for path, taken in there.items() if path not in parts)
        missing = sum(part.bytes for path, part in parts.items() if path not in there)
        words = self._described(size)
        if size + others > self.cache.limit:
            remedy = "Raise the limit, keep fewer views, or delete what nothing needs there."
            invariant = f"{self.cache.folder} must stay within {amount(self.cache.limit)}"
            received = f"{words}, beside {amount(others)} of others"
            refuse(ValueError, "cache", invariant, received, remedy)
        check_room(Path(self.cache.folder), missing)
        there_already, allowed = amount(size - missing), amount(self.cache.limit)
        return (
            f"cache: {words}, {there_already} of it there, {allowed} allowed in "
            f"{self.cache.folder}\naugmentation: {self.augmentation()}"
        )

    def _described(self, size: int) -> str:
        views = f"{self.views} view{'s' if self.views > 1 else ''}"
        images = f"{self.training[0].count:,} images × {views} and of {self.validation.count:,}"
        kinds = " and ".join(map(str, self.kinds))
        return f"maps of {images} for validation, {kinds} each: {amount(size)}"

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
            return part.filled(self.engine, tell, pause)

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
        items, places = pipeline.index.items, pipeline.places
        for chunk in pipeline.chunks(epoch, start):
            labels = np.array([items[i].label for i in chunk], np.int64)
            yield Batch(maps.rows(np.searchsorted(places, chunk)), labels, chunk)
