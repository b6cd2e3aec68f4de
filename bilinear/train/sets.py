"""A set of maps: what it is of, how it is filled, and the room that several take."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..data import Pipeline
from .engines import Engine
from .maps import Kind, Maps, check_limit, check_room, size_of, sweep, taken, write

Tell = Callable[[Mapping[str, Any], int], None]
"""Takes an event, and the number of images that are done."""


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
        return size_of(self.kinds, self.count, self.about)

    def of_later(self, number: int) -> "Part":
        """That of backbones which are not known yet, under a name that is in nobody's way."""
        return self._replace(folder=self.folder.with_name(f"{self.folder.name}-{number}"))

    def filled(self, engine: Engine, limit: int, tell: Tell, pause: Callable[[], None]) -> Maps:
        """The maps, which are computed now where nobody did before."""
        told = []

        def waiting() -> None:
            pause()
            if not told:
                told.append(f"cache: waiting for another process that fills {self.folder.parent}")
                tell({"event": "cache", "text": told[0]}, 0)

        if not self.folder.exists():
            write(
                self.folder,
                self.kinds,
                self.count,
                lambda: self._computed(engine, tell, pause),
                self.about,
                limit=limit,
                waiting=waiting,
            )
        return Maps(self.folder, self.kinds, self.count, self.about)

    def _computed(
        self, engine: Engine, tell: Tell, pause: Callable[[], None]
    ) -> Iterator[Sequence[np.ndarray]]:
        event = {"event": "fill", "part": self.pipeline.split, "epoch": self.epoch}
        done = 0
        for batch in self.pipeline.in_order(self.epoch):
            pause()
            yield engine.maps(batch.images)
            done += len(batch.labels)
            tell(event | {"images": self.count}, done)


def check_fits(folder: Path, limit: int, words: str, parts: Sequence[Part]) -> int:
    """The bytes of these parts that are in the folder of a cache already.

    Args: `words` say what they are.

    Raises: ValueError for more bytes than the limit, OSError for more than the disk has.
    """
    sweep(folder)
    asked, there = {part.folder: part.bytes for part in parts}, taken(folder)
    others = sum(size for path, size in there.items() if path not in asked)
    total = sum(asked.values())
    check_limit(folder, words, total, others, limit)
    found = {
        path: size if path.exists() else min(size, there.get(path, 0))
        for path, size in asked.items()
    }
    check_room(folder, total - sum(found.values()))
    return sum(found.values())
