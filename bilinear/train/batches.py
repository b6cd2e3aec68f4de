"""What the training loop needs of its batches, which it refuses, and validation on all of them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from ..analysis.metrics import cross_entropy, top_k
from ..contract import refuse
from ..data.images import Preprocessing
from .engines import Engine
from .processes import Processes
from .recipes import Recipe

MEASURES = {"loss": (1, 0), "accuracy": (-1, 1), "mean_class_accuracy": (-1, 2)}
"""Name -> sign, which makes smaller values better, and index in the measures of a validation."""


class Batch(Protocol):
    """Labels and indices, beside `images` (N, H, W, 3), float32 and normalized, or, from a feature
    cache, `maps`."""

    @property
    def labels(self) -> np.ndarray:
        """(N,) int64."""
        ...

    @property
    def indices(self) -> np.ndarray:
        """(N,), the index of each image in the data set."""
        ...


class Pipeline(Protocol):
    """The part of `bilinear.data.Pipeline` that the loop uses.

    With several processes, each one has a pipeline that gives its part of each batch.
    """

    @property
    def batches_per_epoch(self) -> int: ...

    def epoch(self, epoch: int, start: int = 0) -> Iterable[Batch]: ...


class Feed(NamedTuple):
    """The batches of a phase, and what the engine does with one."""

    training: Pipeline
    validation: Pipeline
    step: Callable[[Any, Sequence[float]], tuple[float, int]]
    """Train on a batch at the learning rate of each group; returns as `Engine.train_step`."""
    logits: Callable[[Any], np.ndarray]


def image_feed(engine: Engine, training: Pipeline, validation: Pipeline) -> Feed:
    """Batches of images, which pass through the whole network."""
    return Feed(
        training,
        validation,
        lambda batch, rates: engine.train_step(batch.images, batch.labels, rates),
        lambda batch: engine.evaluate(batch.images),
    )


def balanced_weights(
    recipe: Recipe, counts: Sequence[int] | None, num_classes: int
) -> tuple[float, ...] | None:
    """The weight of each class, if the recipe wants them. Raises: ValueError for wrong `counts`."""
    if recipe.class_weights is None:
        return None
    if counts is None or len(counts) != num_classes or min(counts) < 1:
        invariant = "balanced class weights need the number of training images of each class"
        remedy = "Pass class_counts; fit does so by itself."
        refuse(ValueError, "train", invariant, f"{counts}"[:80], remedy)
    return tuple(sum(counts) / (num_classes * count) for count in counts)


def check_labels(labels: np.ndarray, num_classes: int) -> None:
    """Refuse a label outside the classes: frameworks differ in what they compute for it."""
    if len(labels) and not 0 <= labels.min() <= labels.max() < num_classes:
        received = f"{labels.min()} to {labels.max()}"
        remedy = "Build the model with the number of classes of the data."
        refuse(ValueError, "train", f"labels must be 0 to {num_classes - 1}", received, remedy)


def check_pipelines(
    engine: Engine, training: Pipeline, validation: Pipeline, preprocessing: Preprocessing | None
) -> None:
    """Refuse an empty pipeline, and images normalized otherwise than the weights expect."""
    for name, pipeline in ("training", training), ("validation", validation):
        if pipeline.batches_per_epoch < 1:
            remedy = "Add images, or do not drop the last batch."
            refuse(ValueError, "train", f"{name} must have a batch", "none", remedy)
    expected = engine.preprocessing
    if expected is None:
        return
    given = preprocessing and (preprocessing.mean, preprocessing.std)
    if given != (expected.mean, expected.std):
        invariant = f"preprocessing must have the mean {expected.mean} and the std {expected.std}"
        remedy = "The weights were trained on images normalized this way."
        refuse(ValueError, "train", invariant, f"{given}", remedy)


def read_together(
    batches: Iterable[Batch],
    num_classes: int,
    processes: Processes,
    interrupted: Callable[[], bool],
    stop: Callable[[], BaseException],
) -> Iterator[tuple[Batch, int]]:
    """Yield each batch of this process, with the number of its images in all processes.

    All processes stop before the same batch: where one of them cannot read its part, with its
    error, and where one of them was interrupted, with the error that `stop` returns. All of them
    call `stop` in both cases.

    Raises: ValueError for a wrong label; what the pipeline raises.
    """
    rest = iter(batches)
    while True:
        batch, error = None, None
        try:
            batch = next(rest, None)
            if batch is not None:
                check_labels(batch.labels, num_classes)
        except (Exception, KeyboardInterrupt) as caught:
            error = caught
        images = 0 if batch is None else len(batch.labels)
        found = processes.add(np.array([error is not None, interrupted(), images]))
        failed, any_interrupted, images = found.tolist()
        if failed or any_interrupted:
            interruption = stop()
            processes.wait()
            raise interruption if any_interrupted else processes.choose_error(error)
        if batch is None:
            return
        yield batch, images


def validate(
    batches: Iterable[tuple[Batch, int]],
    num_classes: int,
    processes: Processes,
    logits_of: Callable[[Any], np.ndarray],
    after_batch: Callable[[int], None],
    stop: Callable[[], object],
) -> tuple[list[float], np.ndarray]:
    """The measures of a validation, and the number of images of each class.

    The measures are the mean cross-entropy, the accuracy, and the mean of the accuracies of the
    classes that have images. `batches` are those of `read_together`; all processes call `logits_of`
    for each of them, maybe without images. `after_batch` receives the number of images so far. In
    one process, `stop` is called before an error of `logits_of` is raised.
    """
    loss, correct, counts, images = np.zeros(1), *np.zeros((2, num_classes)), 0
    for batch, of_batch in batches:
        try:
            logits = logits_of(batch)
        except Exception:
            if processes.count == 1:  # the others would not save their part of the state
                stop()
            raise
        if len(batch.labels):
            loss += cross_entropy(logits, batch.labels) * len(batch.labels)
            right = top_k(logits, 1)[:, 0] == batch.labels
            correct += np.bincount(batch.labels[right], minlength=num_classes)
            counts += np.bincount(batch.labels, minlength=num_classes)
        images += of_batch
        after_batch(images)
    found = processes.add(np.concatenate([loss, correct, counts]))
    loss, correct, counts = np.split(found, [1, 1 + num_classes])
    there = counts > 0
    class_accuracy = float((correct[there] / counts[there]).mean())
    return [float(loss[0]) / images, float(correct.sum()) / images, class_accuracy], counts


def rank(monitor: str, measures: Sequence[float]) -> list[float]:
    """The monitored measure, then the loss, which decides between equal ones; the least is best."""
    sign, index = MEASURES[monitor]
    return [sign * measures[index], measures[0]]
