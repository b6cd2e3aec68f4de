"""Batches of a data set, decoded in other processes, equal in every run and resumable anywhere."""

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
from ..contract._counts import check_count, check_seed
from .augment import Augmentation, resized_by
from .decode import Decoder, begin, decode, without_interrupts
from .images import Preprocessing, normalize
from .index import Index, Split
from .seeds import ORDER, generator

LAST_EPOCH = 2**32 - 1


class Batch(NamedTuple):
    """Images (N, H, W, 3) float32, normalised, channels last; labels (N,) int64; and indices
    (N,) int64, the place of each image in ``index.items``."""

    images: np.ndarray
    labels: np.ndarray
    indices: np.ndarray


Assembled = tuple[Batch | None, dict[str, str]]
"""A batch, unless no image of it is left; and those that were left out, with the reasons."""


class Pipeline:
    """One part of a data set in batches; a context manager, which shuts its workers down.

        with Pipeline(index, "train", batch_size=32, preprocessing=Preprocessing(),
                      augmentation=Augmentation(), workers=2) as pipeline:
            for batch in pipeline.epoch(3, start=17): ...

    An epoch is a function of (index, seed, epoch): its order comes from one generator, the view
    of each image from another that depends on seed, epoch and image alone. So ``start=17`` gives
    batch 17 and those after it with the bits that a run from 0 gives, and (epoch, next batch) is
    all the state there is. The number of workers changes no bit.

    - `augmentation` None is what `load_image` does, as for evaluation.
    - `shuffle` None shuffles the training part and no other.
    - `drop_last` leaves out a last batch that is not full.
    - `workers` are processes (0: decode in this one), started by the first epoch. They are
      spawned, so a script that has workers keeps its work under ``if __name__ == "__main__"``.
    - `prefetch` batches are in flight while one is used: with workers, a thread of this process
      stacks and normalises them as they are decoded, so that taking the next one computes nothing.
      Beside the batch that it gave, the pipeline holds at most ``prefetch + 1`` such batches and
      the pixels, uint8, of one more.
    - ``on_error="skip"`` leaves an image that cannot be read out of its batch and lists it, with
      the reason, in `skipped`; ``"raise"`` raises what `read_image` raises, which names the file.

    Raises: ValueError or TypeError for arguments outside these, for a part without images, or
        fewer than a batch with `drop_last`; in an epoch RuntimeError for a worker that was
        killed, ValueError for a batch of which, skipping, no image is left.
    """

    def __init__(
        self,
        index: Index,
        part: Split = "train",
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
    ):
        check_count("Pipeline", "batch_size", batch_size)
        check_count("Pipeline", "prefetch", prefetch)
        if workers != 0:
            check_count("Pipeline", "workers", workers, "0 decodes in the calling process.")
        check_seed("Pipeline", seed)
        if on_error not in ("raise", "skip"):
            remedy = "Raising is the default."
            refuse(ValueError, "Pipeline", "on_error must be raise or skip", repr(on_error), remedy)
        if augmentation is not None:
            resized_by(augmentation, preprocessing)  # refused now rather than in a worker
        count = len(index.part(part))
        if count < (batch_size if drop_last else 1):
            invariant = f"the {part} part must hold {'a whole batch' if drop_last else 'an image'}"
            remedy = "validation_split makes a validation part; drop_last needs a smaller batch."
            refuse(ValueError, "Pipeline", invariant, f"{count} images", remedy)
        self.skipped: dict[str, str] = {}
        self.batches_per_epoch = count // batch_size if drop_last else -(-count // batch_size)
        self.index, self.part, self.batch_size = index, part, batch_size
        self._shuffle = part == "train" if shuffle is None else shuffle
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
        """Shut the workers down and wait until they have ended. Further epochs are refused."""
        self._closed = True
        for executor in (self._pool, self._assembler):
            if executor is not None:
                executor.shutdown(wait=True, cancel_futures=True)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from `start` on; all numbers count from 0."""
        return self._views(epoch, self.chunks(epoch, start))

    def in_order(self, epoch: int) -> Iterator[Batch]:
        """The same views of an epoch, in batches in the order of the index."""
        self._check("epoch", epoch, LAST_EPOCH)
        return self._views(epoch, self._chunks(self.places))

    def chunks(self, epoch: int, start: int = 0) -> list[np.ndarray]:
        """The places in ``index.items`` of which the batches of `epoch` are; no file is opened."""
        self._check("epoch", epoch, LAST_EPOCH)
        self._check("start", start, self.batches_per_epoch)
        return self._chunks(self._order(epoch))[start : self.batches_per_epoch]

    @property
    def places(self) -> np.ndarray:
        """Those of the part in ``index.items``, in their order."""
        items = self.index.items
        return np.array([i for i, item in enumerate(items) if item.split == self.part])

    def _chunks(self, places: np.ndarray) -> list[np.ndarray]:
        size = self.batch_size
        return [places[k : k + size] for k in range(0, len(places), size)]

    def _check(self, name: str, number: Any, most: int) -> None:
        if not (isinstance(number, Integral) and 0 <= int(number) <= most):
            invariant = f"{name} must be a whole number from 0 to {most}"
            remedy = "Resume with the numbers of the same pipeline."
            refuse(ValueError, "Pipeline", invariant, repr(number), remedy)

    def _views(self, epoch: int, chunks: list[np.ndarray]) -> Iterator[Batch]:
        if self._closed:
            remedy = "Stay inside the with block, or make another pipeline."
            refuse(ValueError, "Pipeline", "the pipeline must be open", "a closed one", remedy)
        if self._workers and self._pool is None:
            context = get_context("spawn")  # a fork would copy a framework's threads and locks
            resource_tracker.ensure_running()  # which, begun with a worker, lets interrupts through
            self._pool = ProcessPoolExecutor(self._workers, context, begin, (self.decoder,))
            self._assembler = ThreadPoolExecutor(1)
        return self._batches(epoch, chunks)

    def _order(self, epoch: int) -> np.ndarray:
        rng = generator(self.decoder.seed, ORDER, epoch)
        return rng.permutation(self.places) if self._shuffle else self.places

    def _batches(self, epoch: int, chunks: list[np.ndarray]) -> Iterator[Batch]:
        made = self._in_workers(epoch, chunks) if self._workers else self._here(epoch, chunks)
        try:
            with closing(made):
                for batch, skipped in made:
                    self.skipped |= skipped
                    if batch is None:
                        invariant = "a batch must hold an image that can be read"
                        received = f"none; the last: {[*skipped.values()][-1]}"
                        refuse(ValueError, "Pipeline", invariant, received, "Mend the data set.")
                    yield batch
        except BrokenProcessPool as error:
            invariant, received = "workers must live as long as the pipeline", "one that died"
            remedy = (
                "Killed for its memory? Use fewer workers. At its very start? A script keeps its "
                'work under if __name__ == "__main__".'
            )
            raise RuntimeError(message("Pipeline", invariant, received, remedy)) from error

    def _here(self, epoch: int, chunks: list[np.ndarray]) -> Generator[Assembled]:
        for chunk in chunks:
            calls = [partial(self.decoder, self.index.items[i], epoch, int(i)) for i in chunk]
            yield self._assembled(chunk, calls)

    def _in_workers(self, epoch: int, chunks: list[np.ndarray]) -> Generator[Assembled]:
        """The same, decoded in workers and assembled in the thread, while batches before are used.

        What an unfinished epoch leaves is cancelled.
        """
        assert self._pool is not None
        assert self._assembler is not None
        submit, assemble, items = self._pool.submit, self._assembler.submit, self.index.items
        ahead: deque[tuple[Future[Assembled], list[Future]]] = deque()
        rest = iter(chunks)
        try:
            for _ in chunks:
                with without_interrupts():  # a worker starts when there is more to do
                    for chunk in islice(rest, self._prefetch + 1 - len(ahead)):
                        views = [submit(decode, items[i], epoch, int(i)) for i in chunk]
                        calls = [partial(_taken, views)] * len(chunk)
                        ahead.append((assemble(self._assembled, chunk, calls), views))
                batch, _ = ahead.popleft()
                yield batch.result()
        finally:
            for batch, views in ahead:
                for future in (batch, *views):
                    future.cancel()

    def _assembled(self, chunk: np.ndarray, calls: list[Callable]) -> Assembled:
        """What the calls give of the images of a chunk, waited for one after the other."""
        shape = len(chunk), *self.decoder.preprocessing.shape, 3
        images, kept, skipped = np.empty(shape, np.float32), [], {}
        for place, call in zip(chunk, calls, strict=True):
            try:
                pixels = call()
            except (ValueError, OSError) as error:  # what an image that cannot be read raises
                if self.on_error == "raise":
                    raise
                skipped[self.index.items[place].path] = str(error)
                continue
            images[len(kept)] = normalize(pixels, self.decoder.preprocessing)
            kept.append(place)
        if not kept:
            return None, skipped
        labels = np.array([self.index.items[i].label for i in kept], np.int64)
        return Batch(images[: len(kept)], labels, np.array(kept, np.int64)), skipped


def _taken(views: list[Future]) -> np.ndarray:
    """The pixels of the first one, once they are there, which the list then holds no longer."""
    return views.pop(0).result()
