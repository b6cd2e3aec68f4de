"""Loss and accuracy of logits, in NumPy: equal logits are judged equally in every framework."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .batches import Feed, check_labels


class Score(NamedTuple):
    """Sums over some images."""

    loss: float = 0.0
    correct: int = 0
    images: int = 0

    def __add__(self, other: object) -> "Score":
        assert isinstance(other, Score)
        loss, correct, images = other
        return Score(self.loss + loss, self.correct + correct, self.images + images)

    @property
    def means(self) -> tuple[float, float]:
        """Mean cross-entropy, and the share of correct images."""
        return self.loss / self.images, self.correct / self.images


def score(logits: np.ndarray, labels: np.ndarray) -> Score:
    """Of logits (N, K) and labels (N,): the cross-entropy ``log Σ exp z − z[label]`` in float64.

    Of equal largest logits the first is the prediction.
    """
    z = logits.astype(np.float64)
    top = z.max(axis=1)
    losses = top + np.log(np.exp(z - top[:, None]).sum(axis=1)) - z[np.arange(len(z)), labels]
    return Score(float(losses.sum()), int((z.argmax(axis=1) == labels).sum()), len(z))


def judged(feed: Feed, num_classes: int, pause: Callable[[int], None]) -> tuple[Score, np.ndarray]:
    """The score of all validation images, and how many of them are of each class.

    `pause` is called after each batch, with the number of images so far.
    Raises: ValueError for a label that is none.
    """
    total, counts = Score(), np.zeros(num_classes, np.int64)
    for batch in feed.validation.epoch(0):
        check_labels(batch.labels, num_classes)
        total += score(feed.logits(batch), batch.labels)
        counts += np.bincount(batch.labels, minlength=num_classes)
        pause(total.images)
    return total, counts
