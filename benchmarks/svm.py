"""Test accuracy of linear SVMs whose C is chosen on validation images."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from bilinear.analysis.linear_svm import Svm, fit_linear_svms, linear_scores
from bilinear.analysis.metrics import top_k_accuracy

Arrays = Mapping[Any, np.ndarray]
PENALTIES = (1.0, 10.0, 100.0, 1000.0)
"""Values of C."""


def svm_accuracy(descriptors: Arrays, labels: Arrays, classes: int) -> float:
    """Accuracy in % by the splits ``"train"``, ``"validation"`` and ``"test"``.

    Values of C that are too small to separate the training images are left out. Raises: ValueError
    if all of them are.
    """

    def score(svm: Svm, split: str) -> float:
        return 100 * top_k_accuracy(linear_scores(svm, descriptors[split]), labels[split])

    best, chosen = -1.0, None
    for penalty in PENALTIES:
        try:
            (svm,) = fit_linear_svms(descriptors["train"], labels["train"], classes, [penalty])
        except ValueError:
            if chosen is None and penalty == PENALTIES[-1]:
                raise
            continue
        if (found := score(svm, "validation")) > best:
            best, chosen = found, svm
    assert chosen is not None
    return score(chosen, "test")
