"""Reproducible, resumable batches of a data set, decoded in worker processes."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from functools import partial
from itertools import islice
from multiprocessing import get_context, resource_tracker
from numbers import Integral
from typing import Any, Literal, NamedTuple

import numpy as np

from ..contract import message, refuse
from ..contract.arguments import COUNT, WHOLE, check_argument
from .augment import Augmentation, with_resize
from .decode import Decoder, decode, start_worker, without_interrupts
from .image_reader import max_pixels
from .images import Preprocessing, check_batch, check_readable, normalize
from .index import Index, Split
from .seeds import ORDER, generator

LAST_EPOCH = 2**32 - 1


class Batch(NamedTuple):
    """Normalized images (N, H, W, 3) float32, labels (N,) int64, and indices (N,) int64.

    The indices are the positions of the images in ``index.items``.
    """

    images: np.ndarray
    labels: np.ndarray
    indices: np.ndarray


Result = tuple[Batch | None, dict[str, str]]
"""A batch, or None if all its images were skipped; and skipped paths with the error messages."""


class Pipeline:
    """Batches of one split of a data set; a context manager that shuts its workers down.

        with Pipeline(index, "train", batch_size=32, preprocessing=Preprocessing(),
                      augmentation=Augmentation(), workers=2) as pipeline:
            for batch in pipeline.epoch(3, start=17): ...

    An epoch depends only on index, seed and epoch number: one random generator gives its order,
    and another one, seeded by (seed, epoch, image), gives the augmentation of each image. So
    ``start=17`` yields batch 17 and the following ones exactly as an epoch from the start does. The
    state of a run is (epoch, next batch). The number of workers does not change the batches.

    Args:
        index: the index of the data set.
        split: ``"train"`` (default), ``"validation"`` or ``"test"``.
        batch_size: images in a batch, at least 1.
        preprocessing: size and normalization of the images.
        augmentation: applied to each image. Default None: as `load_image`, for evaluation.
        seed: a non-negative integer, default 0.
        workers: number of worker processes. Default 0: decode in the calling process. Workers are
            spawned by the first epoch, so a script with workers needs
            ``if __name__ == "__main__":``.
        shuffle: Default None: shuffle only the training split.
        drop_last: drop the last batch if it is not full. Default False.
        prefetch: batches that are prepared while one is used, at least 1, default 2. With workers,
            a thread of the calling process stacks and normalizes them. Besides the batch in use,
            the pipeline holds at most ``prefetch + 1`` batches, and the uint8 pixels of one more.
        on_error: ``"raise"`` (default) raises the error of `read_image` for an image that cannot be
            read. ``"skip"`` leaves the image out of its batch and adds its path and the error
            message to `skipped`.
        part: ``(k, n)``: of the batches of `epoch`, decode only the k-th of n parts of nearly equal
            size, from 0, for one of n processes. A part of a small batch can be empty. Default:
            ``(0, 1)``, whole batches.

    Raises: ValueError or TypeError for invalid arguments, for a split without images, or with fewer
        images than one batch with `drop_last`. During an epoch: RuntimeError if a worker was
        killed, ValueError if all images of a batch were skipped.
    """

    def __init__(
        self,
        index: Index,
        split: Split = "train",
        *,
        batch_size: int,
        preprocessing: Preprocessing,
        augmentation: Augmentation | None = None,
        seed: int = 0,
        workers: int = 0,
        shuffle: bool | None = None,
        drop_last: bool = False,
        prefetch: int = 2,
        on_error: Literal["raise", "skip"] = "raise",
        part: tuple[int, int] = (0, 1),
    ):
        check_argument("Pipeline", "batch_size", batch_size, COUNT)
        check_argument("Pipeline", "prefetch", prefetch, COUNT)
        check_argument("Pipeline", "workers", workers, WHOLE)
        check_argument("Pipeline", "seed", seed, WHOLE)
        if on_error not in ("raise", "skip"):
            invariant, remedy = "on_error must be 'raise' or 'skip'", "The default is 'raise'."
            refuse(ValueError, "Pipeline", invariant, repr(on_error), remedy)
        if augmentation is not None:
            with_resize(preprocessing, augmentation)  # raises here instead of in a worker
        check_readable("Pipeline", preprocessing)
        check_batch("Pipeline", batch_size, preprocessing)
        count = len(index.split(split))
        if count < (batch_size if drop_last else 1):
            least = "one full batch" if drop_last else "one image"
            invariant = f"the {split} split must have at least {least}"
            empty = "validation_split creates a validation split."
            remedy = "Reduce batch_size." if count else empty
            refuse(ValueError, "Pipeline", invariant, f"{count} images", remedy)
        if not 0 <= part[0] < part[1]:
            invariant = "part must be (k, n) with 0 ≤ k < n"
            refuse(ValueError, "Pipeline", invariant, repr(part), "The default is (0, 1).")
        self.skipped: dict[str, str] = {}
        self.batches_per_epoch = count // batch_size if drop_last else -(-count // batch_size)
        self.index, self.split, self.batch_size, self.part = index, split, batch_size, part
        self._shuffle = split == "train" if shuffle is None else shuffle
        self._workers, self._prefetch, self.on_error = workers, prefetch, on_error
        self.decoder = Decoder(index.root.absolute(), preprocessing, augmentation, int(seed))
        self._pool: ProcessPoolExecutor | None = None
        self._assembler: ThreadPoolExecutor | None = None
        self._closed = False

    def __enter__(self) -> "Pipeline":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Shut the workers down and wait for them. The pipeline cannot be used afterwards."""
        self._closed = True
        for executor in (self._pool, self._assembler):
            if executor is not None:
                executor.shutdown(wait=True, cancel_futures=True)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch from batch `start` on. Epochs and batches count from 0."""
        return self._batches(epoch, [*map(self.own_part, self.batch_indices(epoch, start))])

    def in_order(self, epoch: int) -> Iterator[Batch]:
        """Yield the same images as `epoch`, in the order of the index."""
        self._check("epoch", epoch, LAST_EPOCH)
        return self._batches(epoch, self._in_batches(self.indices))

    def batch_indices(self, epoch: int, start: int = 0) -> list[np.ndarray]:
        """Return `Batch.indices` of the whole batches of an epoch. No file is opened."""
        self._check("epoch", epoch, LAST_EPOCH)
        self._check("start", start, self.batches_per_epoch)
        return self._in_batches(self._order(epoch))[start : self.batches_per_epoch]

    def own_part(self, batch: np.ndarray) -> np.ndarray:
        """Return the images of a batch that this pipeline decodes."""
        return np.array_split(batch, self.part[1])[self.part[0]]

    @property
    def indices(self) -> np.ndarray:
        """Positions of the images of the split in ``index.items``, in ascending order."""
        items = self.index.items
        return np.array([i for i, item in enumerate(items) if item.split == self.split])

    def _in_batches(self, indices: np.ndarray) -> list[np.ndarray]:
        size = self.batch_size
        return [indices[k : k + size] for k in range(0, len(indices), size)]

    def _check(self, name: str, value: Any, largest: int) -> None:
        if not (isinstance(value, Integral) and 0 <= int(value) <= largest):
            invariant = f"{name} must be an integer from 0 to {largest}"
            remedy = "Epochs and batches count from 0."
            refuse(ValueError, "Pipeline", invariant, repr(value), remedy)

    def _batches(self, epoch: int, chunks: list[np.ndarray]) -> Iterator[Batch]:
        if self._closed:
            remedy = "Use the pipeline inside its with block, or create another one."
            refuse(ValueError, "Pipeline", "the pipeline must be open", "a closed pipeline", remedy)
        if self._workers and self._pool is None:
            context = get_context("spawn")  # fork would copy the threads and locks of a framework
            if os.name == "posix":  # elsewhere it does not exist
                with without_interrupts():
                    resource_tracker.ensure_running()  # a worker's one would receive SIGINT
            setup = self.decoder, max_pixels(), self._workers, context.Lock()
            self._pool = ProcessPoolExecutor(self._workers, context, start_worker, setup)
            self._assembler = ThreadPoolExecutor(1)
        return self._yield_batches(epoch, chunks)

    def _order(self, epoch: int) -> np.ndarray:
        rng = generator(self.decoder.seed, ORDER, epoch)
        return rng.permutation(self.indices) if self._shuffle else self.indices

    def _yield_batches(self, epoch: int, chunks: list[np.ndarray]) -> Iterator[Batch]:
        decode_all = self._decode_in_workers if self._workers else self._decode_here
        results = decode_all(epoch, chunks)
        try:
            with closing(results):
                for batch, skipped in results:
                    self.skipped |= skipped
                    if batch is None:
                        invariant = "each batch must have an image that can be read"
                        received = f"none; last error: {[*skipped.values()][-1]}"
                        remedy = "Replace or remove the damaged files."
                        refuse(ValueError, "Pipeline", invariant, received, remedy)
                    yield batch
        except BrokenProcessPool as error:
            invariant, received = "workers must run as long as the pipeline", "one that died"
            remedy = (
                "If memory ran out, use fewer workers. If it died at the start, put the code of "
                'the script under if __name__ == "__main__":.'
            )
            raise RuntimeError(message("Pipeline", invariant, received, remedy)) from error

    def _decode_here(self, epoch: int, chunks: list[np.ndarray]) -> Generator[Result]:
        for chunk in chunks:
            calls = [partial(self.decoder, self.index.items[i], epoch, int(i)) for i in chunk]
            yield self._assemble(chunk, calls)

    def _decode_in_workers(self, epoch: int, chunks: list[np.ndarray]) -> Generator[Result]:
        """Decode in workers and assemble in a thread, until the epoch is abandoned."""
        assert self._pool is not None
        assert self._assembler is not None
        submit, assemble, items = self._pool.submit, self._assembler.submit, self.index.items
        ahead: deque[tuple[Future[Result], list[Future]]] = deque()
        rest = iter(chunks)
        try:
            for _ in chunks:
                with without_interrupts():  # submitting work may start a worker
                    for chunk in islice(rest, self._prefetch + 1 - len(ahead)):
                        pixels = [submit(decode, items[i], epoch, int(i)) for i in chunk]
                        calls = [partial(_pop_result, pixels)] * len(chunk)
                        ahead.append((assemble(self._assemble, chunk, calls), pixels))
                batch, _ = ahead.popleft()
                yield batch.result()
        finally:
            for batch, pixels in ahead:
                for future in (batch, *pixels):
                    future.cancel()

    def _assemble(self, chunk: np.ndarray, calls: list[Callable]) -> Result:
        """Stack and normalize the images that the calls return, one after the other."""
        shape = len(chunk), *self.decoder.preprocessing.shape, self.decoder.preprocessing.channels
        images, indices, skipped = np.empty(shape, np.float32), [], {}
        for index, call in zip(chunk, calls, strict=True):
            try:
                pixels = call()
            except (ValueError, OSError) as error:  # an image that cannot be read
                if self.on_error == "raise":
                    raise
                skipped[self.index.items[index].path] = str(error)
                continue
            images[len(indices)] = normalize(pixels, self.decoder.preprocessing)
            indices.append(index)
        if skipped and not indices:
            return None, skipped
        labels = np.array([self.index.items[i].label for i in indices], np.int64)
        return Batch(images[: len(indices)], labels, np.array(indices, np.int64)), skipped


def _pop_result(futures: list[Future]) -> np.ndarray:
    """Wait for the first future and remove it, so that its pixels are freed after use."""
    return futures.pop(0).result()
