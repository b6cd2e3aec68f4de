"""Learning rates as pure functions: by what the rates of a phase are multiplied.

Nothing is counted on the side: a schedule sees how far its phase is and what the validations of
the phase gave, so that a resumed run has the rates of an undisturbed one.
"""

import math
from collections.abc import Sequence


def step(epoch: int, milestones: Sequence[int], factor: float) -> float:
    """`factor` to the power of how many of the `milestones`, epochs from 0, were reached."""
    return factor ** sum(epoch >= milestone for milestone in milestones)


def cosine(step: int, steps: int) -> float:
    """``(1 + cos(π · step / steps)) / 2``: from 1 at the first step to beside 0 at the last."""
    return (1 + math.cos(math.pi * step / steps)) / 2


def plateau(history: Sequence[float], patience: int, factor: float) -> float:
    """`factor` to the power of how often more than `patience` epochs in a row were not better.

    `history` holds one number an epoch, smaller is better. The count starts again at each drop:
    torch's ``ReduceLROnPlateau`` with a threshold of 0.
    """
    best, bad, drops = math.inf, 0, 0
    for value in history:
        best, bad = (value, 0) if value < best else (best, bad + 1)
        if bad > patience:
            bad, drops = 0, drops + 1
    return factor**drops


def warmup(step: int, steps: int) -> float:
    """``(step + 1) / steps`` until it is 1."""
    return min(1.0, (step + 1) / steps) if steps else 1.0


def is_over(history: Sequence[float], patience: int | None) -> bool:
    """Whether the last `patience` epochs were not better than the best before them."""
    if patience is None or len(history) <= patience:
        return False
    return min(history[-patience:]) >= min(history[:-patience])
