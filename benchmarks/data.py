"""Time that a training step waits for its batch from the input pipeline.

    python -m benchmarks.data                    steps that sleep, as if waiting for a GPU
    python -m benchmarks.data --device cuda      also steps of a network on a GPU
    python -m benchmarks.data --width 1024 --height 768 --workers 2 4 8

JPEGs are decoded, cropped to 448 × 448 at random positions, mirrored and normalized. A step that
sleeps takes `--paces` times as long as the workers need for a batch, and the CPU is free meanwhile.
The other step trains a whole ResNet18 B-CNN with SGD in PyTorch. Workers are warmed up before the
measurement. `first` is the wait for the first batch of an epoch, which is not prefetched. The other
columns are for the following steps.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from bilinear.data import Augmentation, Batch, Index, Item, Pipeline
from bilinear.data.images import Preprocessing

CLASSES = 200


def photographs(root: Path, count: int, width: int, height: int) -> Index:
    """Write JPEGs with detail at every scale, about as large as those of a camera."""
    rng = np.random.default_rng(0)
    for k in range(count):
        layers = []
        for cell in (2, 8, 32, 128):
            coarse = rng.integers(0, 256, (height // cell + 1, width // cell + 1, 3), np.uint8)
            resized = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
            layers.append(np.asarray(resized, np.float32))
        pixels = np.average(layers, axis=0, weights=(1, 3, 4, 4)).astype(np.uint8)
        Image.fromarray(pixels).save(root / f"{k}.jpg", quality=90)
    return index_of(root, count)


def index_of(root: Path, count: int) -> Index:
    """The index of the JPEGs that `photographs` wrote."""
    items = tuple(Item(f"{k}.jpg", k % CLASSES, "train") for k in range(count))
    return Index(root, tuple(map(str, range(CLASSES))), items, "photographs")


def training_step(device: str, threads: int) -> Callable[[Batch], None]:
    """Return a function that trains a whole ResNet18 B-CNN for one SGD step and waits."""
    import torch  # noqa: PLC0415 (workers import this file without a framework)

    from bilinear.torch import BCNN  # noqa: PLC0415

    torch.set_num_threads(threads)
    model = BCNN("resnet18", CLASSES).to(device).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)

    def step(batch: Batch) -> None:
        images = torch.from_numpy(batch.images).to(device).movedim(-1, 1)
        loss = torch.nn.functional.cross_entropy(
            model(images), torch.from_numpy(batch.labels).to(device)
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()

    return step


def waits(batches: Iterable[Batch], step: Callable[[Batch], object]) -> list[float]:
    """Seconds that each `step` waited for its batch."""
    found, start = [], time.perf_counter()
    for batch in batches:
        found.append(time.perf_counter() - start)
        step(batch)
        start = time.perf_counter()
    return found


def throughput(batches: Iterable[Batch], step: Callable[[Batch], object]) -> tuple[float, float]:
    """Images per second, and the fraction of the time that `step` waited."""
    images: list[int] = []

    def count(batch: Batch) -> None:
        step(batch)
        images.append(len(batch.labels))

    start = time.perf_counter()
    waited = sum(waits(batches, count))
    seconds = time.perf_counter() - start
    return sum(images) / seconds, waited / seconds


HEADER = "workers   decoded, images/s   step              step, ms    mean wait   longest   first"


def row(workers: int, decoded: float, name: str, seconds: float, waited: list[float]) -> str:
    """A line of the table, for steps that take `seconds`."""
    first, *later = (1000 * one for one in waited)
    return (
        f"{workers:7d}{decoded:20.1f}   {name:16s}{1000 * seconds:10.1f}"
        f"{np.mean(later):13.1f}{max(later):10.1f}{first:8.0f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--paces", type=float, nargs="+", default=[1.2, 2.0])
    parser.add_argument("--device", help="also measure a training step, on cuda or cpu")
    parser.add_argument("--threads", type=int, default=2, help="of the training step on a CPU")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--images", type=int, default=512, help="in an epoch")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--width", type=int, default=500)
    parser.add_argument("--height", type=int, default=375)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        index = photographs(root, given.images, given.width, given.height)
        size = sum(file.stat().st_size for file in root.iterdir()) / given.images / 1024
        print(f"{given.images} JPEGs of {given.width} × {given.height}, {size:.0f} KiB each")
        step, alone = None, 0.0
        if given.device:
            step = training_step(given.device, given.threads)
            warm = Pipeline(index, batch_size=given.batch_size, preprocessing=Preprocessing())
            batch = next(warm.epoch(0))
            step(batch)
            alone, _ = throughput([batch] * warm.batches_per_epoch, step)
            print(f"a training step on {given.device} takes {alone:.1f} images/s")
        print(HEADER)
        for workers in given.workers:
            with Pipeline(
                index,
                batch_size=given.batch_size,
                preprocessing=Preprocessing(),
                augmentation=Augmentation(),
                workers=workers,
            ) as pipeline:
                throughput(pipeline.epoch(0), lambda _: None)
                decoded, _ = throughput(pipeline.epoch(1), lambda _: None)
                for pace in given.paces:
                    seconds = pace * given.batch_size / decoded
                    waited = waits(pipeline.epoch(2), lambda _, s=seconds: time.sleep(s))
                    name = f"{pace:g} × decoding"
                    print(row(workers, decoded, name, seconds, waited), flush=True)
                if step:
                    waited, seconds = waits(pipeline.epoch(2), step), given.batch_size / alone
                    print(row(workers, decoded, "ResNet18 B-CNN", seconds, waited), flush=True)


if __name__ == "__main__":
    main()
