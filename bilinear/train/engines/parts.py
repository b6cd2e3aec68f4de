"""The parts of a batch whose gradients are computed one after the other and added."""

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
    weights = np.ones(len(labels))
    if plan.class_weights is not None:
        weights = np.array(plan.class_weights)[labels]
    total = weights.sum()
    if processes is not None:
        total = processes.add(total)
    count = 1 if plan.part is None else -(-len(labels) // plan.part)
    indices = np.array_split(np.arange(len(labels)), count) if len(labels) else []
    shares = [float(weights[i].sum() / total) for i in indices]
    return [(slice(i[0], i[-1] + 1), share) for i, share in zip(indices, shares, strict=True)]
