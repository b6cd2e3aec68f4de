"""Train a bilinear CNN on photographs in PyTorch; get the same answers in TensorFlow and JAX.

    python -m examples.demo                  trains once (under five minutes on two cores)
    python -m examples.demo --seeds 5        trains five times: means with 95 % intervals, and a
                                             control, the B-CNN's descriptor of each map's average
    python -m examples.demo --scratch        from random weights instead of a trained backbone,
                                             with one epoch more and a larger rate

A ResNet18 B-CNN and the same network with global average pooling learn to name the textures of
`textures.py`. B-CNNs are built on networks that were trained before, on something else; in place
of a download, one is trained here first, with average pooling on other photographs. Both start
from its backbone, and all layers are trained, with one recipe, on the same batches.

The B-CNN is saved as the portable file, opened in every framework and compared, and
`out/demo.png` shows what it predicts and why.
"""

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

if not __package__:  # run as a file; python -m examples.demo knows the folder above
    sys.path.insert(0, str(Path(__file__).parents[1]))

from bilinear.torch import BCNN, load, save
from examples import figure, textures
from examples.intervals import mean_and_half
from examples.textures import CLASSES, Crops
from examples.training import (
    EPOCHS,
    POOLINGS,
    RATE,
    RATE_BEFORE,
    TRAIN,
    BilinearOfAverage,
    network,
    tensors,
    train,
    trained_before,
)

TEST = 64
"""Crops of each class to test on."""
CORES = 2

Predict = Callable[[np.ndarray], np.ndarray]
"""Normalised images (N, H, W, 3) -> logits (N, classes), whatever the framework."""


def torch_predict(model: BCNN) -> Predict:
    @torch.inference_mode()
    def predict(images: np.ndarray) -> np.ndarray:
        return model(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()

    return predict


def open_torch(path: Path) -> Predict:
    return torch_predict(load(path))


def open_tensorflow(path: Path) -> Predict:
    import tensorflow as tf  # noqa: PLC0415 (a framework is imported when it is reached)

    from bilinear import tensorflow as door  # noqa: PLC0415

    model = door.load(path)
    forward = tf.function(lambda images: model(images, training=False))
    return lambda images: forward(tf.constant(images)).numpy()


def open_jax(path: Path) -> Predict:
    from flax import nnx  # noqa: PLC0415

    from bilinear import jax as door  # noqa: PLC0415

    model = door.load(path)
    forward = nnx.jit(lambda model, images: model(images))
    return lambda images: np.asarray(forward(model, images))


DOORS = {
    "torch": (open_torch, ("torch",)),
    "tensorflow": (open_tensorflow, ("tensorflow", "keras")),
    "jax": (open_jax, ("jax", "flax")),
}


@contextmanager
def held_stderr() -> Iterator[None]:
    """Keep what libraries log when they are loaded out of the table, unless loading fails."""
    with tempfile.TemporaryFile() as held:
        stderr = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(stderr, held.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def batched(predict: Predict, images: np.ndarray, size: int = 32) -> np.ndarray:
    return np.concatenate([predict(images[i : i + size]) for i in range(0, len(images), size)])


def compare(path: Path, test: Crops) -> None:
    """Open the file in every framework and print what each makes of the test crops."""
    images = textures.normalized(test.images)
    expected = None
    print(f"\n{'framework':33}{'accuracy':>9}{'predictions':>13}{'logits':>10}{'images/s':>10}")
    for open_door, packages in DOORS.values():
        with held_stderr():
            predict = open_door(path)
        batched(predict, images[:64])  # compiles
        start = time.perf_counter()
        logits = batched(predict, images)
        rate = len(images) / (time.perf_counter() - start)
        if expected is None:
            expected = logits
        equal = np.array_equal(logits.argmax(1), expected.argmax(1))
        name = ", ".join(f"{package} {version(package)}" for package in packages)
        print(
            f"{name:33}{accuracy(logits, test):>9.1%}{'equal' if equal else 'DIFFERENT':>13}"
            f"{np.abs(logits - expected).max():>10.1e}{rate:>10.1f}",
            flush=True,
        )
    print("predictions: whether all equal those of the first row; logits: largest difference to it")


def accuracy(logits: np.ndarray, crops: Crops) -> float:
    return float((logits.argmax(1) == crops.labels).mean())


def interval(values: list[float]) -> str:
    """Mean and 95 % interval (Student's t) of percentages."""
    mean, half = mean_and_half(values)
    return f"{100 * mean:6.1f} %" + ("" if len(values) < 2 else f" ± {100 * half:.1f}")


def illustrate(model: BCNN, test: Crops, logits: np.ndarray, path: Path, title: str) -> None:
    """Two crops of each class: one named rightly and a mistake, where there are both."""
    predictions = logits.argmax(1)
    right = predictions == test.labels
    pairs = []
    for label in range(len(CLASSES)):
        crops = np.flatnonzero(test.labels == label)
        crops = crops[np.argsort(~right[crops], kind="stable")]  # mistakes last
        pairs.append((crops[0], crops[-1]))
    shown = np.array(pairs).T.ravel()
    images, labels = tensors(Crops(test.images[shown], test.labels[shown]))
    maps = figure.evidence(model, images, torch.from_numpy(predictions[shown]))
    matrix = np.zeros((len(CLASSES), len(CLASSES)), int)
    np.add.at(matrix, (test.labels, predictions), 1)
    guesses = predictions[shown].tolist()
    figure.draw(path, test.images[shown], labels.tolist(), guesses, maps, matrix, CLASSES, title)


def settle() -> int:
    """Keep every framework quiet, on the CPU and on `CORES` cores; how many it really has."""
    for name, value in (
        ("TF_CPP_MIN_LOG_LEVEL", "3"),
        ("CUDA_VISIBLE_DEVICES", ""),
        ("JAX_PLATFORMS", "cpu"),
        ("KERAS_BACKEND", "tensorflow"),
    ):
        os.environ.setdefault(name, value)
    cores = min(CORES, os.cpu_count() or 1)
    if hasattr(os, "sched_setaffinity"):  # Linux: threads of all frameworks follow
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
        cores = len(os.sched_getaffinity(0))
    torch.set_num_threads(cores)
    return cores


def trained(seed: int, poolings: Sequence[str], *, scratch: bool) -> Iterator[tuple[str, BCNN]]:
    """The network with each pooling, trained on the crops of `seed` by the same recipe."""
    crops = textures.texture_crops("train", TRAIN, seed=seed)
    before = None if scratch else trained_before(seed)
    for pooling in poolings:
        model = network(pooling, len(CLASSES), seed)
        if before is not None:
            model.backbone.load_state_dict(before)
        rate, note = RATE_BEFORE if scratch else RATE, f"{pooling} pooling, seed {seed}"
        train(model, crops, EPOCHS + scratch, rate, seed=seed, note=note)
        yield pooling, model


@torch.inference_mode()
def likeness(model: BCNN, crops: Crops) -> float:
    """Mean cosine of a B-CNN's descriptors with those of each map's average alone."""
    pool, cosines = BilinearOfAverage(), []
    for part in tensors(crops)[0].split(32):
        (maps,) = model.feature_maps(part)
        cosines.append((model.pool(maps) * pool(maps)).sum(1))
    return float(torch.cat(cosines).mean())


def run(seeds: int, out: Path, *, scratch: bool) -> None:
    start = time.perf_counter()
    cores = settle()
    out.mkdir(parents=True, exist_ok=True)
    test = textures.texture_crops("test", TEST, seed=0)
    print(
        f"Python {platform.python_version()}, torch {version('torch')}, NumPy {np.__version__},"
        f" scikit-image {version('scikit-image')}; {cores} cores\n"
        f"{len(CLASSES)} textures: {', '.join(CLASSES)}; crops of {textures.CROP} px:"
        f" {len(CLASSES)} × {TRAIN} to train, {len(CLASSES)} × {TEST} to test;"
        f" seeds {', '.join(map(str, range(seeds)))}",
        flush=True,
    )
    poolings = list(POOLINGS)[: 2 if seeds == 1 else None]
    scores: dict[str, list[float]] = {pooling: [] for pooling in poolings}
    shown: BCNN | None = None
    for seed in range(seeds):
        for pooling, model in trained(seed, poolings, scratch=scratch):
            logits = batched(torch_predict(model), textures.normalized(test.images))
            scores[pooling].append(accuracy(logits, test))
            if shown is None:
                shown, shown_logits = model, logits
    assert shown is not None
    report(scores, "from random weights" if scratch else "trained before")
    alike = likeness(shown, test)
    print(f"seed 0: cosine of the B-CNN's descriptors and those of its maps' averages {alike:.3f}")
    path = out / "textures.safetensors"
    save(shown, path, classes=CLASSES, preprocessing=textures.PREPROCESSING)
    size = path.stat().st_size / 2**20
    print(f"\nThe B-CNN of seed 0 is saved as {path} ({size:.0f} MiB) and opened everywhere:")
    compare(path, test)
    title = f"ResNet18 B-CNN on textures it has not seen: {accuracy(shown_logits, test):.1%} right"
    illustrate(shown, test, shown_logits, out / "demo.png", title)
    print(f"\nFigure: {out / 'demo.png'}\nTime: {time.perf_counter() - start:.0f} s in all")


def report(scores: dict[str, list[float]], start: str) -> None:
    """Print the test accuracies, and how far the first is ahead of each other."""
    print(f"\n{'ResNet18, ' + start:32}{'test accuracy':>16}")
    for pooling, values in scores.items():
        each = "" if len(values) == 1 else "   " + " ".join(f"{100 * v:.1f}" for v in values)
        print(f"{pooling:32}{interval(values):>16}{each}")
    first, *others = scores
    for other in others:
        difference = [a - b for a, b in zip(scores[first], scores[other], strict=True)]
        name = f"{first} − {other}"
        print(f"{name:32}{interval(difference):>16}   (points, paired by seed)")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=1, help="how often to train (default 1)")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder of what is written")
    parser.add_argument("--scratch", action="store_true", help="start from random weights")
    arguments = parser.parse_args()
    if arguments.seeds < 1:
        parser.error("--seeds must be at least 1")
    run(arguments.seeds, arguments.out, scratch=arguments.scratch)


if __name__ == "__main__":
    main()
