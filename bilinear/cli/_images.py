"""The images of a command, and batches of those that can be read.

Images are decoded in threads: Pillow releases the global interpreter lock while it decodes and
resizes. The preprocessing is that of `bilinear.data` without augmentation.
"""

import glob
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..data import Item
from ..data.decode import Decoder
from ..data.images import Preprocessing, check_batch, normalize
from ..data.listing import image_files, walk
from ._console import say
from ._errors import one_line


class Images(NamedTuple):
    """Images below a root folder. `classes` is empty if the images have no labels."""

    root: Path
    items: Sequence[Item]
    classes: tuple[str, ...] = ()

    def paths(self) -> Iterator[Path]:
        """The path of the file of each image, below the current folder or absolute."""
        return (self.root / item.file for item in self.items)


def find_images(inputs: Sequence[str], banner: int = 0) -> Images:
    """List the images of files, folders (searched at any depth) and globs, in the given order."""
    paths = [path for name in inputs for path in _expand(name)]
    return Images(Path(), [_unlabelled_item(path, banner) for path in paths])


def read_one(path: Path, preprocessing: Preprocessing, banner: int) -> np.ndarray:
    """The (H, W, 3) uint8 pixels of one image after cropping and resizing."""
    decode = Decoder(Path(), preprocessing, None, seed=0)
    return decode(_unlabelled_item(f"{path}", banner), 0, 0)


def _unlabelled_item(path: str, banner: int) -> Item:
    """An image that does not belong to a data set; its label is -1."""
    return Item(path, -1, "test", banner=banner)


def _expand(name: str) -> list[str]:
    path = Path(name)
    if path.is_dir():
        return [str(path / inside) for inside in image_files(path)] or [name]
    if path.exists():
        return [name]
    return sorted(_match(name)) or [name]  # reading it reports an error


def _match(pattern: str) -> set[str]:
    """The paths that match a glob pattern; ``**`` follows links once, unlike in `glob`."""
    before, recursive, rest = f"/{pattern}/".partition("/**/")
    if not recursive:
        return {*glob.glob(pattern)}
    top, rest = before[1:] or ("/" if pattern[0] == "/" else ""), rest.strip("/") or "*"
    tops = [path for path in _match(top) if Path(path).is_dir()] if top else [""]
    folders = [os.path.join(top, folder) for top in tops for folder, _ in walk(Path(top))]
    found = {path for folder in folders for path in _match(os.path.join(glob.escape(folder), rest))}
    return {path for path in found if not Path(path).is_dir()}


class Reader:
    """Batches of the images that can be read. Each other image is named on stderr and counted in
    `failed`."""

    def __init__(self, images: Images, preprocessing: Preprocessing, workers: int) -> None:
        self.failed = 0
        self._items = images.items
        self._workers = workers
        self._preprocessing = preprocessing
        self._decode = Decoder(images.root, preprocessing, None, seed=0)

    def batches(
        self, size: int, advance: Callable[[int], None]
    ) -> Iterator[tuple[np.ndarray, list[Item]]]:
        """Yield batches in order, all full except the last: normalized images and their items.

        Raises: ValueError if a batch is too large.
        """
        check_batch("bilinear", size, self._preprocessing)
        views: list[np.ndarray] = []
        items: list[Item] = []
        for item, future in self._decode_ahead(2 * size):
            try:
                views.append(future.result())
                items.append(item)
            except (ValueError, OSError) as error:
                say(f"bilinear: {one_line(error)}")
                self.failed += 1
                advance(1)
            if len(views) == size:
                yield normalize(np.stack(views), self._preprocessing), items
                views, items = [], []
        if views:
            yield normalize(np.stack(views), self._preprocessing), items

    def _decode_ahead(self, count: int) -> Iterator[tuple[Item, Future]]:
        """Yield every item with the future of its pixels; at most `count` are submitted at once."""
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
