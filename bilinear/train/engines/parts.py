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


def split_between_devices(
    plan: Plan, labels: np.ndarray, processes: Processes, devices: int
) -> tuple[list[list[slice]], float]:
    """The images of each device in each round, and the weight of the batch of all processes.

    `labels` are those of this process. A device has at most `plan.part` images in a round, maybe
    none. Every process has equally many rounds.
    """
    sizes, weights = processes.collect(len(labels), _weights(plan, labels).sum()).T
    most = math.ceil(sizes.max() / devices)
    rounds = 1 if plan.part is None else max(1, math.ceil(most / plan.part))
    own = [slices(x.start, x.stop, rounds) for x in slices(0, len(labels), devices)]
    return [[*of_round] for of_round in zip(*own, strict=True)], float(weights.sum())


def split_batch_of_all(
    plan: Plan, labels: np.ndarray, processes: Processes
) -> list[tuple[slice, float, tuple[int, ...]]]:
    """The parts of a batch that all processes compute together.

    `labels` are those of this process, maybe none. A part has at most `plan.part` images of each.

    Returns: the images of this process, the share of the part as in `split_batch`, and its number
        of images in each process.
    """
    lengths = [int(length) for (length,) in processes.collect(len(labels))]
    count = 1 if plan.part is None else -(-max(lengths) // plan.part)
    parts = [slices(0, length, count) for length in lengths]
    weights = _weights(plan, labels)
    totals = processes.add(np.array([weights[x].sum() for x in parts[processes.rank]]))
    shares = (totals / totals.sum()).tolist()
    sizes = [tuple(x.stop - x.start for x in of_part) for of_part in zip(*parts, strict=True)]
    return [*zip(parts[processes.rank], shares, sizes, strict=True)]


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
