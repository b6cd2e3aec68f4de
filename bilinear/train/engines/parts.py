"""The parts of a batch whose gradients are computed one after the other and added."""

import itertools
import math

import numpy as np

from ..parameter_groups import Plan
from ..processes import Processes


def split_batch(
    plan: Plan, labels: np.ndarray, processes: Processes | None = None
) -> list[tuple[slice, float]]:
    """The images of each part, and its share in the loss of the batch.

    Parts have nearly equal sizes, at most `plan.part`. The loss of the batch is the sum of the
    losses of the parts times their shares: of the images, or of their class weights. With
    `processes`, `labels` are those of this process, maybe none, and the batch is that of all.
    """
    weights = _weights(plan, labels)
    total = weights.sum()
    if processes is not None:
        total = processes.add(total)
    count = 1 if plan.part is None else -(-len(labels) // plan.part)
    parts = slices(0, len(labels), count) if len(labels) else []
    return [(part, float(weights[part].sum() / total)) for part in parts]


def split_batch_of_all(
    plan: Plan, labels: np.ndarray, processes: Processes, devices: int = 1
) -> tuple[list[tuple[slice, tuple[int, ...]]], float]:
    """The parts of a batch that all processes compute together, and the weight of the batch.

    `labels` are those of this process, maybe none. A part has at most `plan.part` images for each
    of the `devices` of a process. The loss of the batch is that of all images over its weight.

    Returns: of each part, the images of this process and the number of images in each process.
    """
    sizes, weights = processes.collect(len(labels), _weights(plan, labels).sum()).T
    count = 1 if plan.part is None else math.ceil(sizes.max() / (devices * plan.part))
    parts = zip(*(slices(0, int(size), count) for size in sizes), strict=True)
    found = [(x[processes.rank], tuple(own.stop - own.start for own in x)) for x in parts]
    return found, float(weights.sum())


def _weights(plan: Plan, labels: np.ndarray) -> np.ndarray:
    """The weight of each image in the loss."""
    if plan.class_weights is None:
        return np.ones(len(labels))
    return np.array(plan.class_weights)[labels]


def slices(start: int, stop: int, count: int) -> list[slice]:
    """Nearly equal parts of a range, the larger ones first, as those of `np.array_split`."""
    size, larger = divmod(stop - start, count)
    ends = [start + size * i + min(i, larger) for i in range(count + 1)]
    return [slice(*pair) for pair in itertools.pairwise(ends)]
