"""The parts of a batch whose gradients are computed one after the other and added."""

import numpy as np

from ..parameter_groups import Plan


def split_batch(plan: Plan, labels: np.ndarray) -> list[tuple[slice, float]]:
    """The images of each part, and its share in the loss of the batch.

    Parts have nearly equal sizes, at most `plan.part`. The loss of the batch is the sum of the
    losses of the parts times their shares: of the images, or of their class weights.
    """
    count = 1 if plan.part is None else -(-len(labels) // plan.part)
    weights = np.ones(len(labels))
    if plan.class_weights is not None:
        weights = np.array(plan.class_weights)[labels]
    indices = np.array_split(np.arange(len(labels)), count)
    shares = [float(weights[i].sum() / weights.sum()) for i in indices]
    return [(slice(i[0], i[-1] + 1), share) for i, share in zip(indices, shares, strict=True)]
