"""Whether a network has unlearned what it knew, by its validations alone."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

LEARNED, USELESS = 0.9, 0.99
"""Of the loss of chance: at most so much is something learned, at least so much is nothing. A
network that still begins is in between."""


class Chance(NamedTuple):
    """What is reached without looking: one answer for all images, by how many are of each class."""

    loss: float
    """The entropy of the classes, ``−Σ p log p``."""
    accuracy: float
    """The share of the most frequent class."""
    noise: float
    """The standard deviation of that accuracy: ``√(a (1 − a) / images)``."""

    @classmethod
    def of(cls, counts: np.ndarray) -> "Chance":
        """Args: `counts` of the images of each class."""
        share = counts[counts > 0] / counts.sum()
        top = float(share.max())
        noise = math.sqrt(top * (1 - top) / counts.sum())
        return cls(float(-(share * np.log(share)).sum()), top, noise)


def unlearned(
    now: Sequence[float],
    history: Sequence[Sequence[float]],
    before: Sequence[float] | None,
    chance: Chance,
) -> float | None:
    """The best accuracy before, if the network has collapsed, else None.

    It has when an epoch before was clearly better than chance, and two in a row are no better than
    it in loss *and* accuracy, by more than the noise of so few images. In the first epoch of a
    phase one is enough if it also has less than half of the accuracy: such a start has too large
    a rate. Small sets overfit to losses above chance at a good accuracy: that is no collapse.

    Args:
        now: validation loss and accuracy.
        history: those of the epochs of the phase before it.
        before: those that the phase began with, if they say anything of it.
    """
    earlier = [*([] if before is None else [before]), *history]
    recent = [now, *history[-1:]]
    if not earlier or any(_is_of_use(epoch, chance) for epoch in recent):
        return None
    loss, accuracy = min(earlier, key=lambda epoch: epoch[0])
    is_clear = loss <= LEARNED * chance.loss and accuracy - now[1] > 3 * chance.noise
    is_enough = bool(history) or now[1] < accuracy / 2
    return accuracy if is_clear and is_enough else None


def _is_of_use(epoch: Sequence[float], chance: Chance) -> bool:
    loss, accuracy = epoch
    return loss < USELESS * chance.loss or accuracy > chance.accuracy
