"""What the loop asks of the images it is given, and what it refuses of them."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from ..contract import refuse
from ..data.images import Preprocessing
from .engines import Engine


class Batch(Protocol):
    """Beside these, images (N, H, W, 3), float32 and normalised; or maps, see `cache`."""

    @property
    def labels(self) -> np.ndarray:
        """(N,) int64."""
        ...

    @property
    def indices(self) -> np.ndarray:
        """(N,), the place of each image in the data."""
        ...


class Pipeline(Protocol):
    """What the loop asks of `bilinear.data.Pipeline`."""

    @property
    def batches_per_epoch(self) -> int: ...

    def epoch(self, epoch: int, start: int = 0) -> Iterable[Batch]: ...


class Feed(NamedTuple):
    """What a phase is given: batches, and what the engine does with one."""

    training: Pipeline
    validation: Pipeline
    step: Callable[[Any, Sequence[float]], float]
    """At the rates of the groups; returns the loss."""
    logits: Callable[[Any], np.ndarray]


def through(engine: Engine, training: Pipeline, validation: Pipeline) -> Feed:
    """Every image, by the whole network."""
    return Feed(
        training,
        validation,
        lambda batch, rates: engine.train_step(batch.images, batch.labels, rates),
        lambda batch: engine.evaluate(batch.images),
    )


def some(batch: Batch) -> str:
    """Which images a batch is of, for an error."""
    places = [int(i) for i in np.asarray(batch.indices).ravel()[:8]]
    return f" for the images {', '.join(map(str, places))}, …"


def check_labels(labels: np.ndarray, num_classes: int) -> None:
    """Frameworks differ in what a class that is none does: nothing, NaN or an error."""
    if len(labels) and not 0 <= labels.min() <= labels.max() < num_classes:
        received = f"{labels.min()} to {labels.max()}"
        remedy = "Make the model for the classes of the data."
        refuse(ValueError, "train", f"labels must be 0 to {num_classes - 1}", received, remedy)


def check_pipelines(
    engine: Engine,
    training: Pipeline,
    validation: Pipeline,
    preprocessing: Preprocessing | None,
) -> None:
    """That there is something to see, in the colours that the weights were trained on."""
    for name, pipeline in ("training", training), ("validation", validation):
        if pipeline.batches_per_epoch < 1:
            remedy = "Give it images, or leave drop_last out."
            refuse(ValueError, "train", f"{name} must have a batch", "none", remedy)
    wanted = engine.preprocessing
    if wanted is None:
        return
    own = preprocessing and (preprocessing.mean, preprocessing.std)
    if own != (wanted.mean, wanted.std):
        invariant = f"preprocessing must have the mean {wanted.mean} and deviation {wanted.std}"
        remedy = "The weights were trained on images normalised so."
        refuse(ValueError, "train", invariant, f"{own}", remedy)
