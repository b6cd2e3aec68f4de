"""The batches of one epoch from the input pipeline of this project, and from Grain's.

Grain calls our functions for the order of the images, decoding, augmentation and normalization, in
two ways: its workers decode single images, and batches are made of them in the main process, as in
our pipeline; or its workers make whole batches.
"""

import importlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bilinear.data import Augmentation, Batch, Item, Pipeline
from bilinear.data.decode import Decoder
from bilinear.data.images import Preprocessing, normalize

from .data import index_of

OURS, IMAGES, BATCHES = "bilinear", "Grain, images", "Grain, batches"
SIDES = OURS, IMAGES, BATCHES
EPOCH = 1
AHEAD = 2
"""Batches that are prepared ahead. Grain counts elements for each worker."""


@dataclass(frozen=True)
class CountingDecoder(Decoder):
    """A decoder that appends a byte to the file `count` for each image, in any process."""

    count: Path

    def __call__(self, item: Item, epoch: int, position: int) -> np.ndarray:
        view = super().__call__(item, epoch, position)
        with self.count.open("ab") as file:
            file.write(b".")
        return view


class Source(NamedTuple):
    """JPEGs that `photographs` wrote. `size` is that of a crop, in pixels."""

    root: Path
    images: int
    size: int
    batch_size: int

    def open(self, workers: int = 0) -> Pipeline:
        """Open our pipeline."""
        index = index_of(self.root, self.images)
        options: Any = {"preprocessing": Preprocessing(self.size), "augmentation": Augmentation()}
        options |= {"workers": workers, "prefetch": AHEAD}
        pipeline = Pipeline(index, batch_size=self.batch_size, **options)
        own = pipeline.decoder
        fields = own.root, own.preprocessing, own.augmentation, own.seed
        pipeline.decoder = CountingDecoder(*fields, self.root / "decoded")
        return pipeline


class SingleImages:
    """The images of an epoch in their order, for `grain.MapDataset.source`."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline, self.order = pipeline, np.concatenate(pipeline.batch_indices(EPOCH))

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, k: int) -> tuple[np.ndarray, int, int]:
        i = int(self.order[k])
        item = self.pipeline.index.items[i]
        return self.pipeline.decoder(item, EPOCH, i), item.label, i

    def batch(self, images: Sequence[tuple[np.ndarray, int, int]]) -> Batch:
        """Stack and normalize images."""
        pixels, labels, indices = zip(*images, strict=True)
        views = normalize(np.stack(pixels), self.pipeline.decoder.preprocessing)
        return Batch(views, np.array(labels, np.int64), np.array(indices, np.int64))


class WholeBatches:
    """The batches of an epoch, for `grain.MapDataset.source`."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline

    def __len__(self) -> int:
        return self.pipeline.batches_per_epoch

    def __getitem__(self, k: int) -> Batch:
        return next(self.pipeline.epoch(EPOCH, k))


def grain_iterator(side: str, source: Source, workers: int) -> Any:
    """Grain's iterator over an epoch, which decodes in the calling process or in workers."""
    grain, flags = map(importlib.import_module, ("grain", "absl.flags"))  # optional packages
    if not flags.FLAGS.is_parsed():  # Grain reads its own flags
        flags.FLAGS(["benchmarks"])
    pipeline = source.open()
    images = SingleImages(pipeline)
    read = grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)
    elements = AHEAD if side == BATCHES else AHEAD * source.batch_size
    ahead = max(elements // max(2 * workers, 1), 1)  # there are two buffers
    processes = grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=ahead)
    if side == BATCHES:
        data = grain.MapDataset.source(WholeBatches(pipeline)).to_iter_dataset(read)
        return iter(data.mp_prefetch(processes))
    data = grain.MapDataset.source(images).to_iter_dataset(read).mp_prefetch(processes)
    return iter(data.batch(source.batch_size, batch_fn=images.batch))


@contextmanager
def epoch_of(side: str, source: Source, workers: int, state: Any = None) -> Iterator[Any]:
    """The batches of an epoch with new workers, from a state on: a batch, or Grain's as JSON."""
    if side == OURS:
        with source.open(workers) as pipeline:
            yield pipeline.epoch(EPOCH, start=state or 0)
        return
    iterator = grain_iterator(side, source, workers)
    if state is not None:
        iterator.set_state(json.loads(state))
    try:
        yield iterator
    finally:
        iterator.close()
