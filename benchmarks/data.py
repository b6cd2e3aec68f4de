"""Whether the input pipeline feeds a training step: images per second of both, and together.

    python -m benchmarks.data                    on this machine's CPU, which both share
    python -m benchmarks.data --device cuda      the step on a GPU
    python -m benchmarks.data --width 1024 --height 768 --workers 2 4 8

JPEGs are decoded, cropped to 448 × 448 at random places, mirrored and normalised. The step is that
of a whole ResNet18 B-CNN with SGD, in PyTorch. A worker is warm before it is timed.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from bilinear.data import Augmentation, Batch, Index, Item, Pipeline
from bilinear.images import Preprocessing

CLASSES = 200


def photographs(root: Path, count: int, width: int, height: int) -> Index:
    """JPEGs with detail at every scale, about as large as a camera's at quality 90."""
    rng = np.random.default_rng(0)
    for k in range(count):
        layers = []
        for cell in (2, 8, 32, 128):
            coarse = rng.integers(0, 256, (height // cell + 1, width // cell + 1, 3), np.uint8)
            resized = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
            layers.append(np.asarray(resized, np.float32))
        pixels = np.average(layers, axis=0, weights=(1, 3, 4, 4)).astype(np.uint8)
        Image.fromarray(pixels).save(root / f"{k}.jpg", quality=90)
    items = tuple(Item(f"{k}.jpg", k % CLASSES, "train") for k in range(count))
    return Index(root, tuple(map(str, range(CLASSES))), items, "photographs")


def training_step(device: str, threads: int) -> Callable[[Batch], None]:
    """One step of SGD on all of a ResNet18 B-CNN; it waits for its result."""
    import torch  # noqa: PLC0415 (workers import this file too, and need no framework)

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


def timed(batches: Iterable[Batch], step: Callable[[Batch], object]) -> tuple[float, float]:
    """Images per second, and the share of the time that `step` waited for them."""
    images, waited, start = 0, 0.0, time.perf_counter()
    asked = start
    for batch in batches:
        waited += time.perf_counter() - asked
        step(batch)
        images += len(batch.labels)
        asked = time.perf_counter()
    return images / (asked - start), waited / (asked - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", default="cpu", help="of the training step: cpu, or cuda")
    parser.add_argument("--threads", type=int, default=2, help="of the training step on a CPU")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--images", type=int, default=128, help="in an epoch")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--width", type=int, default=500)
    parser.add_argument("--height", type=int, default=375)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        index = photographs(root, given.images, given.width, given.height)
        size = sum(file.stat().st_size for file in root.iterdir()) / given.images / 1024
        step = training_step(given.device, given.threads)
        warm = Pipeline(index, batch_size=given.batch_size, preprocessing=Preprocessing())
        batch = next(warm.epoch(0))
        step(batch)
        alone, _ = timed([batch] * warm.batches_per_epoch, step)
        print(
            f"{given.images} JPEGs of {given.width} × {given.height}, {size:.0f} KiB each;", end=" "
        )
        print(f"a training step on {given.device} takes {alone:.1f} images/s")
        print("workers   decoded, images/s   trained, images/s   of the step alone   waiting")
        for workers in given.workers:
            with Pipeline(
                index,
                batch_size=given.batch_size,
                preprocessing=Preprocessing(),
                augmentation=Augmentation(),
                workers=workers,
            ) as pipeline:
                timed(pipeline.epoch(0), lambda _: None)
                decoded, _ = timed(pipeline.epoch(1), lambda _: None)
                trained, waited = timed(pipeline.epoch(2), step)
            print(
                f"{workers:7d}{decoded:20.1f}{trained:20.1f}{trained / alone:20.2f}{waited:10.1%}",
                flush=True,
            )


if __name__ == "__main__":
    main()
