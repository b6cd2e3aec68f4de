"""Learning rate schedules as pure functions that return a factor on the learning rates.

They keep no state: a factor follows from the progress of the phase and its validations, so that
a resumed run has the learning rates of an undisturbed one.
"""

import math
from collections.abc import Sequence


def step(epoch: int, milestones: Sequence[int], factor: float) -> float:
    """`factor` to the power of the number of `milestones` reached; epochs count from 0."""
    return factor ** sum(epoch >= milestone for milestone in milestones)


def cosine(step: int, steps: int) -> float:
    """``(1 + cos(π · step / steps)) / 2``: 1 at the first step, close to 0 at the last."""
    return (1 + math.cos(math.pi * step / steps)) / 2


def plateau(history: Sequence[float], patience: int, factor: float) -> float:
    """`factor` to the power of how often more than `patience` epochs in a row did not improve.

    `history` holds one value for each epoch, smaller is better. The count restarts at each drop,
    as in ``torch.optim.lr_scheduler.ReduceLROnPlateau`` with a threshold of 0.
    """
    best, bad, drops = math.inf, 0, 0
    for value in history:
        best, bad = (value, 0) if value < best else (best, bad + 1)
        if bad > patience:
            bad, drops = 0, drops + 1
    return factor**drops


def warmup(step: int, steps: int) -> float:
    """``(step + 1) / steps``, at most 1."""
    return min(1.0, (step + 1) / steps) if steps else 1.0


def is_over(history: Sequence[float], patience: int | None) -> bool:
    """Whether none of the last `patience` epochs was better than the best one before them."""
    if patience is None or len(history) <= patience:
        return False
    return min(history[-patience:]) >= min(history[:-patience])
