"""Detect a network that lost what it had learned, from its validations alone."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

LEARNED, USELESS = 0.9, 0.99
"""Fractions of the chance-level loss: up to the first it is learned, from the second not."""


class Chance(NamedTuple):
    """Chance level: one answer for all images, by the number of images of each class."""

    loss: float
    """The entropy of the classes, ``−Σ p log p``."""
    accuracy: float
    """The share of the most frequent class."""
    noise: float
    """The standard deviation of that accuracy: ``√(a (1 − a) / images)``."""

    @classmethod
    def of(cls, counts: np.ndarray) -> "Chance":
        """Args: `counts` is the number of images of each class."""
        share = counts[counts > 0] / counts.sum()
        top = float(share.max())
        noise = math.sqrt(top * (1 - top) / counts.sum())
        return cls(float(-(share * np.log(share)).sum()), top, noise)


def reason_to_stop(
    now: Sequence[float],
    history: Sequence[Sequence[float]],
    before: Sequence[float] | None,
    chance: Chance,
) -> tuple[str, str] | None:
    """The requirement that a validation does not meet and what it received, else None.

    The loss must be finite, and the network must not have collapsed; the arguments are those of
    `accuracy_before_collapse`.
    """
    loss, accuracy, *_ = now
    if not math.isfinite(loss):
        return "the validation loss must be finite", f"{loss}"
    lost = accuracy_before_collapse(now, history, before, chance)
    if lost is None:
        return None
    received = f"validation accuracy {lost:.1%}, now {accuracy:.1%} at a loss of {loss:.3g}"
    return "the network must not fall back to chance level", received


def accuracy_before_collapse(
    now: Sequence[float],
    history: Sequence[Sequence[float]],
    before: Sequence[float] | None,
    chance: Chance,
) -> float | None:
    """The best earlier accuracy if the network has collapsed to chance level, else None.

    It has collapsed when an earlier epoch was clearly better than chance and two epochs in a row
    are not, in loss *and* accuracy, by more than the noise of the number of images. In the first
    epoch of a phase one such epoch is enough where it also has less than half of the accuracy:
    the learning rate of the phase is too large. A small data set overfits to a loss above chance
    level at a good accuracy; that is no collapse. `now`, `history` and `before` begin with the
    loss and accuracy of this epoch, of the earlier ones of the phase, and of its start (None:
    unknown).
    """
    earlier = [*([] if before is None else [before]), *history]
    for loss, accuracy, *_ in (now, *history[-1:]):
        if loss < USELESS * chance.loss or accuracy > chance.accuracy:
            return None
    if not earlier:
        return None
    loss, accuracy, *_ = min(earlier, key=lambda epoch: epoch[0])
    had_learned = loss <= LEARNED * chance.loss and accuracy - now[1] > 3 * chance.noise
    is_certain = bool(history) or now[1] < accuracy / 2
    return accuracy if had_learned and is_certain else None
