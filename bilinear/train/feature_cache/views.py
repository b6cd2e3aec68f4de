"""One view: the feature maps of every image of a split, as one epoch shows them."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...data import Pipeline
from ..engines import Engine
from ..events import CacheMessage, CacheProgress, Event
from .files import (
    FeatureMaps,
    MapSpec,
    check_free_space,
    check_limit,
    folder_sizes,
    remove_leftovers,
    size_on_disk,
    write_maps,
)

Notify = Callable[[Event, int], None]
"""Receives an event and the number of images that are done."""


class View(NamedTuple):
    """The feature maps of every image of a split, as one epoch shows them."""

    folder: Path
    about: dict[str, Any]
    pipeline: Pipeline
    epoch: int
    specs: tuple[MapSpec, ...]
    count: int

    @property
    def bytes(self) -> int:
        return size_on_disk(self.specs, self.count, self.about)

    def for_later_weights(self, version: int) -> "View":
        """The same view for weights that are not known yet, under a folder name nothing uses."""
        return self._replace(folder=self.folder.with_name(f"{self.folder.name}-{version}"))

    def load(
        self, engine: Engine, limit: int, notify: Notify, check_interrupt: Callable[[], None]
    ) -> FeatureMaps:
        """The feature maps, computed now unless they are stored."""
        notified = []

        def waiting() -> None:
            check_interrupt()
            if not notified:
                notified.append(True)
                text = f"cache: waiting for another process that writes to {self.folder.parent}"
                notify(CacheMessage(text), 0)

        def compute() -> Iterator[Sequence[np.ndarray]]:
            progress, done = CacheProgress(self.pipeline.split, self.epoch, self.count), 0
            for batch in self.pipeline.in_order(self.epoch):
                check_interrupt()
                yield engine.maps(batch.images)
                done += len(batch.labels)
                notify(progress, done)

        content = self.folder, self.specs, self.count, self.about
        if not self.folder.exists():
            write_maps(*content, compute, limit=limit, waiting=waiting)
        return FeatureMaps(*content)


def check_space(folder: Path, limit: int, description: str, views: Sequence[View]) -> int:
    """The bytes of these views that the folder of a cache has already.

    Args:
        description: of the views, for error messages.

    Raises: ValueError for more bytes than the limit, OSError for more than the disk has free.
    """
    remove_leftovers(folder)
    asked, there = {view.folder: view.bytes for view in views}, folder_sizes(folder)
    others = sum(size for path, size in there.items() if path not in asked)
    total = sum(asked.values())
    check_limit(folder, description, total, others, limit)
    stored = sum(
        size if path.exists() else min(size, there.get(path, 0)) for path, size in asked.items()
    )
    check_free_space(folder, total - stored)
    return stored
