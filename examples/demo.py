"""Train a bilinear CNN on photographs in PyTorch; get the same predictions in TensorFlow and JAX.

    python -m examples.demo              trains with one seed (under five minutes on two cores)
    python -m examples.demo --seeds 5    trains with five seeds and prints means with 95 %
                                         intervals; adds a control network
    python -m examples.demo --scratch    starts from random weights instead of a pretrained
                                         backbone, with one more epoch and a larger learning rate

The demo trains a ResNet18 with several pooling layers on the textures of `textures.py`:
`BilinearPool` (the B-CNN), global average pooling, and `CovariancePool`. The control is bilinear
pooling of the average feature vector: it has the descriptor size, root and norm of the B-CNN, but
no information about how channels vary together.

B-CNNs start from pretrained backbones. To avoid a download, the demo first trains a backbone with
average pooling on other photographs. All networks start from this backbone and are trained whole,
with one recipe, on the same batches.

The demo saves the B-CNN as a portable file, opens it in every framework and compares the logits.
`out/demo.png` shows predictions and where in the image they come from.
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

if not __package__:  # run as a file: the repository is not on the path yet
    sys.path.insert(0, str(Path(__file__).parents[1]))

from bilinear.torch import BCNN, load, save
from examples import figure, textures
from examples.intervals import mean_and_margin
from examples.textures import CLASSES, Crops
from examples.training import (
    EPOCHS,
    LEARNING_RATE,
    LEARNING_RATE_PRETRAINING,
    POOLINGS,
    TRAIN,
    BilinearOfAverage,
    make_network,
    pretrained_backbone,
    tensors,
    train,
)

TEST = 64
"""Test crops of each class."""
CORES = 2

Predict = Callable[[np.ndarray], np.ndarray]
"""Normalized images (N, H, W, 3) -> logits (N, classes), in any framework."""


def torch_predict(model: BCNN) -> Predict:
    @torch.inference_mode()
    def predict(images: np.ndarray) -> np.ndarray:
        return model(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()

    return predict


def open_torch(path: Path) -> Predict:
    return torch_predict(load(path))


def open_tensorflow(path: Path) -> Predict:
    import tensorflow as tf  # noqa: PLC0415 (each framework is imported only when it is needed)

    from bilinear import tensorflow as namespace  # noqa: PLC0415

    model = namespace.load(path)
    forward = tf.function(lambda images: model(images, training=False))
    return lambda images: forward(tf.constant(images)).numpy()


def open_jax(path: Path) -> Predict:
    from flax import nnx  # noqa: PLC0415

    from bilinear import jax as namespace  # noqa: PLC0415

    model = namespace.load(path)
    forward = nnx.jit(lambda model, images: model(images))
    return lambda images: np.asarray(forward(model, images))


FRAMEWORKS = {
    "torch": (open_torch, ("torch",)),
    "tensorflow": (open_tensorflow, ("tensorflow", "keras")),
    "jax": (open_jax, ("jax", "flax")),
}


@contextmanager
def suppress_stderr() -> Iterator[None]:
    """Hide what libraries log while they load; print it if loading fails."""
    with tempfile.TemporaryFile() as log:
        stderr = os.dup(2)
        os.dup2(log.fileno(), 2)
        try:
            yield
        except BaseException:
            log.seek(0)
            os.write(stderr, log.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def predict_in_batches(predict: Predict, images: np.ndarray, size: int = 32) -> np.ndarray:
    return np.concatenate([predict(images[i : i + size]) for i in range(0, len(images), size)])


def compare(path: Path, test: Crops) -> None:
    """Open the file in every framework; print the accuracy and the difference of the logits."""
    images = textures.normalized(test.images)
    expected = None
    print(f"\n{'framework':33}{'accuracy':>9}{'predictions':>13}{'logits':>10}{'images/s':>10}")
    for open_model, packages in FRAMEWORKS.values():
        with suppress_stderr():
            predict = open_model(path)
        predict_in_batches(predict, images[:64])  # compiles
        start = time.perf_counter()
        logits = predict_in_batches(predict, images)
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
    print("predictions and logits are compared with the first row; logits: largest difference")


def accuracy(logits: np.ndarray, crops: Crops) -> float:
    return float((logits.argmax(1) == crops.labels).mean())


def interval(values: list[float]) -> str:
    """The mean and its 95 % interval (Student's t), in per cent."""
    mean, margin = mean_and_margin(values)
    return f"{100 * mean:6.1f} %" + ("" if len(values) < 2 else f" ± {100 * margin:.1f}")


def illustrate(model: BCNN, test: Crops, logits: np.ndarray, path: Path, title: str) -> None:
    """Draw two crops of each class: a correct prediction and a wrong one, if both exist."""
    predictions = logits.argmax(1)
    right = predictions == test.labels
    pairs = []
    for label in range(len(CLASSES)):
        crops = np.flatnonzero(test.labels == label)
        crops = crops[np.argsort(~right[crops], kind="stable")]  # wrong predictions last
        pairs.append((crops[0], crops[-1]))
    shown = np.array(pairs).T.ravel()
    images, labels = tensors(Crops(test.images[shown], test.labels[shown]))
    heat = figure.class_heat(model, images, torch.from_numpy(predictions[shown]))
    matrix = np.zeros((len(CLASSES), len(CLASSES)), int)
    np.add.at(matrix, (test.labels, predictions), 1)
    guesses = predictions[shown].tolist()
    figure.draw(path, test.images[shown], labels.tolist(), guesses, heat, matrix, CLASSES, title)


def limit_to_cores() -> int:
    """Restrict every framework to the CPU and to `CORES` cores; return the number of cores."""
    for name, value in (
        ("TF_CPP_MIN_LOG_LEVEL", "3"),
        ("CUDA_VISIBLE_DEVICES", ""),
        ("JAX_PLATFORMS", "cpu"),
        ("KERAS_BACKEND", "tensorflow"),
    ):
        os.environ.setdefault(name, value)
    cores = min(CORES, os.cpu_count() or 1)
    if hasattr(os, "sched_setaffinity"):  # Linux: this applies to the threads of all frameworks
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
        cores = len(os.sched_getaffinity(0))
    torch.set_num_threads(cores)
    return cores


def train_networks(
    seed: int, poolings: Sequence[str], *, scratch: bool
) -> Iterator[tuple[str, BCNN]]:
    """Train one network for each pooling layer, with the same recipe on the same batches."""
    crops = textures.texture_crops("train", TRAIN, seed=seed)
    backbone = None if scratch else pretrained_backbone(seed)
    for pooling in poolings:
        model = make_network(pooling, len(CLASSES), seed)
        if backbone is not None:
            model.backbone.load_state_dict(backbone)
        rate = LEARNING_RATE_PRETRAINING if scratch else LEARNING_RATE
        note = f"{pooling} pooling, seed {seed}"
        train(model, crops, EPOCHS + scratch, rate, seed=seed, note=note)
        yield pooling, model


@torch.inference_mode()
def mean_cosine(model: BCNN, crops: Crops) -> float:
    """Mean cosine similarity of bilinear descriptors and those of the average feature vector."""
    pool, cosines = BilinearOfAverage(), []
    for images in tensors(crops)[0].split(32):
        (features,) = model.feature_maps(images)
        cosines.append((model.pool(features) * pool(features)).sum(1))
    return float(torch.cat(cosines).mean())


def run(seeds: int, out: Path, *, scratch: bool) -> None:
    start = time.perf_counter()
    cores = limit_to_cores()
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
    poolings = list(POOLINGS)[: 3 if seeds == 1 else None]
    scores: dict[str, list[float]] = {pooling: [] for pooling in poolings}
    shown: BCNN | None = None
    for seed in range(seeds):
        for pooling, model in train_networks(seed, poolings, scratch=scratch):
            logits = predict_in_batches(torch_predict(model), textures.normalized(test.images))
            scores[pooling].append(accuracy(logits, test))
            if shown is None:
                shown, shown_logits = model, logits
    assert shown is not None
    report(scores, "random weights" if scratch else "pretrained")
    cosine = mean_cosine(shown, test)
    print(f"seed 0: mean cosine of the descriptors, bilinear and control: {cosine:.3f}")
    path = out / "textures.safetensors"
    save(shown, path, classes=CLASSES, preprocessing=textures.PREPROCESSING)
    size = path.stat().st_size / 2**20
    print(f"\nThe B-CNN of seed 0, saved as {path} ({size:.0f} MiB), in each framework:")
    compare(path, test)
    title = f"ResNet18 B-CNN on test crops: accuracy {accuracy(shown_logits, test):.1%}"
    illustrate(shown, test, shown_logits, out / "demo.png", title)
    print(f"\nFigure: {out / 'demo.png'}\nTotal time: {time.perf_counter() - start:.0f} s")


def report(scores: dict[str, list[float]], start: str) -> None:
    """Print the test accuracies, and the differences of the first to each other one."""
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
    parser.add_argument("--seeds", type=int, default=1, help="number of seeds (default 1)")
    parser.add_argument("--out", type=Path, default=Path("out"), help="output folder (default out)")
    parser.add_argument("--scratch", action="store_true", help="start from random weights")
    arguments = parser.parse_args()
    if arguments.seeds < 1:
        parser.error("--seeds must be at least 1")
    run(arguments.seeds, arguments.out, scratch=arguments.scratch)


if __name__ == "__main__":
    main()
