"""Which images a command is about, and batches of those that can be read.

Decoding is by threads: Pillow lets go of Python's lock while it decodes and resizes, and threads
start at once. The views are those of `bilinear.data`, of which nothing here is random.
"""

import glob
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..data import Item
from ..data.decode import Decoder
from ..data.folder import image_files
from ..data.images import Preprocessing, normalize
from ._console import say
from ._errors import sentence

UNLABELLED = -1


class Images(NamedTuple):
    """Images below a root; `classes` is empty where they have no labels."""

    root: Path
    items: Sequence[Item]
    classes: tuple[str, ...] = ()


class Batch(NamedTuple):
    """Images (N, H, W, 3) float32, normalised, and what each is."""

    images: np.ndarray
    items: list[Item]


def listed(inputs: Sequence[str], banner: int = 0) -> Images:
    """Images of files, folders (those inside, at any depth) and globs, in the order given.

    `banner` rows are dropped at the bottom of each. A name that is none of these stays in the list:
    to read it fails, and says so.
    """
    paths = [path for name in inputs for path in _expanded(name)]
    return Images(Path(), [unlabelled(path, banner) for path in paths])


def unlabelled(path: str, banner: int) -> Item:
    """An image of no data set."""
    return Item(path, UNLABELLED, "test", banner=banner)


def _expanded(name: str) -> list[str]:
    path = Path(name)
    if path.is_dir():
        return [str(path / inside) for inside in image_files(path)] or [name]
    if path.exists():
        return [name]
    return sorted(glob.glob(name, recursive=True)) or [name]


class Reader:
    """Batches of images that can be read; `failed` counts the others, which are named on stderr."""

    def __init__(self, images: Images, preprocessing: Preprocessing, workers: int) -> None:
        self.failed = 0
        self._items = images.items
        self._workers = workers
        self._preprocessing = preprocessing
        self._decode = Decoder(images.root, preprocessing, None, seed=0)

    def batches(self, size: int, done: Callable[[int], None]) -> Iterator[Batch]:
        """All images in order, full batches but the last; `done` hears of each that failed."""
        views: list[np.ndarray] = []
        items: list[Item] = []
        for item, future in self._ahead(2 * size):
            try:
                views.append(future.result())
                items.append(item)
            except (ValueError, OSError) as error:
                say(f"bilinear: {sentence(error)}")
                self.failed += 1
                done(1)
            if len(views) == size:
                yield Batch(normalize(np.stack(views), self._preprocessing), items)
                views, items = [], []
        if views:
            yield Batch(normalize(np.stack(views), self._preprocessing), items)

    def _ahead(self, count: int) -> Iterator[tuple[Item, Future]]:
        """Every item with its view to come; up to `count` are under way, the rest is not begun."""
        rest = iter(self._items)
        ahead: deque[tuple[Item, Future]] = deque()
        pool = ThreadPoolExecutor(self._workers)
        try:
            for _ in self._items:
                for item in islice(rest, count - len(ahead)):
                    ahead.append((item, pool.submit(self._decode, item, 0, 0)))
                yield ahead.popleft()
        finally:
            pool.shutdown(cancel_futures=True)
