"""From a file to the pixels of one view, in this process or in a worker of its own."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import parent_process
from pathlib import Path

import numpy as np
from PIL import Image

from ..contract import refuse
from .augment import Augmentation, augmented
from .images import Preprocessing, centre_crop, cover, read_image
from .index import Item
from .seeds import AUGMENTATION, generator


@dataclass(frozen=True)
class Decoder:
    """The view of an item that an epoch sees, as pixels: (H, W, 3) uint8.

    Cost: what leaves a worker is a quarter of the float32 that a model takes; to normalise it
    takes a fraction of the time that copying the difference would.
    Raises: what `read_image` and `cover` raise; ValueError for a box outside the image.
    """

    root: Path
    preprocessing: Preprocessing
    augmentation: Augmentation | None
    seed: int

    def __call__(self, item: Item, epoch: int, place: int) -> np.ndarray:
        name = os.fspath(self.root / item.path)
        image = cut(read_image(name), item, name)
        if self.augmentation is None:
            view = centre_crop(cover(image, self.preprocessing, name), self.preprocessing.shape)
        else:
            rng = generator(self.seed, AUGMENTATION, epoch, place)
            view = augmented(image, self.preprocessing, self.augmentation, rng, name)
        return np.asarray(view)


def cut(image: Image.Image, item: Item, name: str) -> Image.Image:
    """What an item keeps of its image: not its banner, and no more than its box."""
    bottom = image.height - item.banner
    left, top, right, end = item.box or (0, 0, image.width, bottom)
    kept = max(left, 0), max(top, 0), min(right, image.width), min(end, bottom)
    if not (kept[0] < kept[2] and kept[1] < kept[3]):
        invariant = f"{name} must hold its box, above its banner"
        received = f"{image.width} × {image.height}, box {item.box}, {item.banner} rows of banner"
        refuse(ValueError, "Pipeline", invariant, received, "Is it the image of the data set?")
    return image.crop(kept)


@contextmanager
def without_interrupts() -> Iterator[None]:
    """Ctrl-C waits for the end of this block; a process begun in it does not see it before `begin`.

    A new process would die of it while it still imports, and print where. Windows has no mask.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# --- in a worker ---

_decoder: Decoder


def begin(decoder: Decoder) -> None:
    """What a worker does first.

    Ctrl-C reaches every process of a terminal: the workers leave it to their parent, which shuts
    them down. A parent that is killed cannot, so each worker waits for its end as well.
    """
    global _decoder  # noqa: PLW0603 (a worker process decodes for one pipeline only)
    _decoder = decoder
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # for good: the mask is of this thread alone
    threading.Thread(target=_end_with_the_parent, daemon=True).start()


def _end_with_the_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)  # the main thread may be waiting for work that never comes


def decode(item: Item, epoch: int, place: int) -> np.ndarray:
    """The worker's decoder, called."""
    return _decoder(item, epoch, place)
