"""Decoding of image files, in the calling process or in worker processes."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from multiprocessing import parent_process
from multiprocessing.synchronize import Lock
from pathlib import Path

import numpy as np
from PIL import Image

from ..contract import refuse
from .archives import open_item
from .augment import Augmentation, augment
from .image_reader import MAX_PIXELS, read_image, set_max_pixels
from .images import Preprocessing, center_crop, cover, to_pixels
from .index import Item
from .seeds import AUGMENTATION, generator


@dataclass(frozen=True)
class Decoder:
    """Decode an item and apply the preprocessing and augmentation of an epoch: (H, W, C) uint8.

    Normalization is left to the caller: a worker sends a quarter of the bytes of a float32 array.
    Raises: as `open_item`, `read_image` and `cover`; ValueError for a box outside the image.
    """

    root: Path
    preprocessing: Preprocessing
    augmentation: Augmentation | None
    seed: int

    def __call__(self, item: Item, epoch: int, position: int) -> np.ndarray:
        with ExitStack() as reserved:
            return self._view(item, epoch, position, reserved)

    def _view(self, item: Item, epoch: int, position: int, reserved: ExitStack) -> np.ndarray:
        name = os.fspath(self.root / item.path)
        with open_item(self.root, item) as file:
            image = read_image(file, reserve=lambda n: reserved.enter_context(_reserve(n)))
        image = crop_to_item(image, item, name)
        if self.augmentation is None:
            view = center_crop(cover(image, self.preprocessing, name), self.preprocessing.shape)
        else:
            rng = generator(self.seed, AUGMENTATION, epoch, position)
            view = augment(image, self.preprocessing, self.augmentation, rng, name)
        return to_pixels(view, self.preprocessing)


_reserved = 0
_changed = threading.Condition()
_share = MAX_PIXELS
"""Pixels of a large image: of several worker processes, one at a time decodes such an image."""
_large: AbstractContextManager[object] = nullcontext()
"""What a worker process holds meanwhile."""


@contextmanager
def _reserve(pixels: int) -> Iterator[None]:
    """Wait until all threads of this process decode at most `MAX_PIXELS` together, or this one."""
    global _reserved  # noqa: PLW0603 (the memory of the process is bounded)
    with _large if pixels > _share else nullcontext():
        with _changed:
            _changed.wait_for(lambda: _reserved == 0 or _reserved + pixels <= MAX_PIXELS)
            _reserved += pixels
        try:
            yield
        finally:
            with _changed:
                _reserved -= pixels
                _changed.notify_all()


def crop_to_item(image: Image.Image, item: Item, name: str) -> Image.Image:
    """Cut off the banner of an image and crop it to the box of its item."""
    bottom = image.height - item.banner
    left, top, right, end = item.box or (0, 0, image.width, bottom)
    box = max(left, 0), max(top, 0), min(right, image.width), min(end, bottom)
    if not (box[0] < box[2] and box[1] < box[3]):
        invariant = f"{name} must contain its box, above its banner"
        received = f"{image.width} × {image.height}, box {item.box}, {item.banner} rows of banner"
        remedy = "Check that the file belongs to the data set."
        refuse(ValueError, "Pipeline", invariant, received, remedy)
    return image if box == (0, 0, *image.size) else image.crop(box)


@contextmanager
def without_interrupts() -> Iterator[None]:
    """Block SIGINT and SIGUSR1 (except on Windows), also in processes that start in the block.

    SIGINT would print a traceback during a worker's imports. SIGUSR1, which clusters send to all
    processes of a job, would end a worker.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGUSR1})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# --- runs in a worker process ---

_decoder: Decoder


def start_worker(decoder: Decoder, max_pixels: int, workers: int, large: Lock) -> None:
    """Ignore Ctrl-C, since the parent shuts workers down, and exit if the parent is killed."""
    global _decoder, _share, _large
    _decoder, _share, _large = decoder, MAX_PIXELS // workers, large
    set_max_pixels(max_pixels)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the signal mask applies to this thread only
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)  # the main thread may wait for work forever


def decode(item: Item, epoch: int, position: int) -> np.ndarray:
    """Call the decoder of this worker."""
    return _decoder(item, epoch, position)
