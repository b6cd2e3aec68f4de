"""Validation: loss and accuracy of all validation images, computed in NumPy."""

from collections.abc import Callable

import numpy as np

from ..analysis.metrics import cross_entropy, top_k
from .batches import Feed, check_labels


def validate(
    feed: Feed, num_classes: int, after_batch: Callable[[int], None]
) -> tuple[float, float, np.ndarray]:
    """Mean cross-entropy, accuracy, and the number of images of each class.

    Args:
        after_batch: called after each batch with the number of images so far.

    Raises: ValueError for a label outside the classes.
    """
    loss, correct, counts = 0.0, 0, np.zeros(num_classes, np.int64)
    for batch in feed.validation.epoch(0):
        check_labels(batch.labels, num_classes)
        logits = feed.logits(batch)
        loss += cross_entropy(logits, batch.labels) * len(batch.labels)
        correct += int((top_k(logits, 1)[:, 0] == batch.labels).sum())
        counts += np.bincount(batch.labels, minlength=num_classes)
        after_batch(int(counts.sum()))
    images = int(counts.sum())
    return loss / images, correct / images, counts
