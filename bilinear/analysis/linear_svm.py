"""Linear SVMs on descriptors: the protocol of Lin, RoyChowdhury and Maji, ICCV 2015, section 4.

There is one SVM for each class against all others, with hinge loss, on descriptors of norm 1.
The bias is regularized as the weight of a constant feature 1, as in the published code. Each SVM
is rescaled so that the median scores of training images of the class and of the others are 1 and
−1. The published C is 1.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .._require import require_packages
from ..contract import refuse

PUBLISHED_C = 1.0
GRID = (0.1, 1.0, 10.0, 100.0)
"""Values of C to choose from on validation images."""
_BLOCK = 2**24
"""Values of the descriptors that are in float64 at once: 128 MiB."""

Svm = tuple[np.ndarray, np.ndarray]
"""Weight (K, D) and bias (K,) of the scores, in float64."""


def fit_linear_svms(
    descriptors: np.ndarray, labels: np.ndarray, num_classes: int, values: Sequence[float]
) -> Iterator[Svm]:
    """Yield the rescaled SVMs of all classes for each value of C.

    With more values D than images N, the SVMs are fitted to the coordinates of the descriptors in
    the space that they span. This changes neither the problem nor its solution, because the weights
    are sums of descriptors, and liblinear needs memory for N · N values in place of N · D.

    Descriptors of another length than 1, as of `AveragePool`, are divided by their mean length; the
    weights are those of the original descriptors.

    Args:
        descriptors: (N, D) array of a real floating dtype, for example memory-mapped.
        labels: (N,) integers from 0 to K − 1, each at least once.
        num_classes: K, at least 2.
        values: positive values of C.

    Raises: ImportError without scikit-learn; ValueError for labels without all classes, for
        descriptors that are all 0, and for a class whose median score is not above that of the
        others.
    """
    require_packages("bilinear.analysis.linear_svm", ("sklearn",), "svm")
    from sklearn.svm import LinearSVC  # type: ignore[import] # noqa: PLC0415 - slow to import

    op = "fit_linear_svms"
    if num_classes < 2 or {*labels.tolist()} != {*range(num_classes)}:
        found = f"labels of {len({*labels.tolist()})} classes"
        requirement = f"each of {num_classes} classes, two or more, must have an image"
        refuse(ValueError, op, requirement, found, "Add images, or leave the class out.")
    count, size = descriptors.shape
    scale = float(np.mean([np.linalg.norm(np.asarray(row, np.float64)) for row in descriptors]))
    if not 0 < scale < np.inf:
        refuse(ValueError, op, "descriptors must be finite and not all 0", f"length {scale}")
    basis = None
    if size <= count:
        inputs = np.asarray(descriptors, np.float64) / scale
    else:
        gram = np.zeros((count, count))
        for block in _blocks(descriptors):
            gram += block @ block.T
        powers, vectors = np.linalg.eigh(gram / scale**2)
        kept = powers > count * np.finfo(np.float64).eps * powers[-1]
        lengths, vectors = np.sqrt(powers[kept]), vectors[:, kept]
        inputs, basis = vectors * lengths, vectors / lengths
    for c in values:
        options: dict[str, Any] = {"loss": "hinge", "dual": True, "max_iter": 100_000}
        svm: Any = LinearSVC(C=c, random_state=0, **options)
        svm.fit(inputs, labels)
        weight, bias = svm.coef_, svm.intercept_
        if num_classes == 2:  # one SVM, of class 1
            weight, bias = np.concatenate([-weight, weight]), np.concatenate([-bias, bias])
        weight, bias = _rescale(op, weight, bias, inputs @ weight.T + bias, labels)
        if basis is not None:
            of_images = weight @ basis.T
            weight = np.concatenate([of_images @ block for block in _blocks(descriptors)], 1)
            weight /= scale
        yield weight / scale, bias


def linear_scores(svm: Svm, descriptors: np.ndarray) -> np.ndarray:
    """The scores (N, K) of descriptors, in float64."""
    weight, bias = svm
    scores = np.zeros((len(descriptors), len(bias))) + bias
    start = 0
    for block in _blocks(descriptors):
        scores += block @ weight[:, start : start + block.shape[1]].T
        start += block.shape[1]
    return scores


def _rescale(
    op: str, weight: np.ndarray, bias: np.ndarray, scores: np.ndarray, labels: np.ndarray
) -> Svm:
    """Map the median scores of the images of each class, and of all others, to 1 and −1."""
    own = labels[:, None] == np.arange(len(bias))
    high, low = (
        np.array([np.median(scores[rows[:, k], k]) for k in range(len(bias))])
        for rows in (own, ~own)
    )
    if (wrong := np.flatnonzero(~(high > low))).size:
        requirement = "the median score of a class must be above that of the others"
        remedy = "Use a larger C, or more images."
        refuse(ValueError, op, requirement, f"not so for class {wrong[0]}", remedy)
    factor = 2 / (high - low)
    return weight * factor[:, None], (bias - (high + low) / 2) * factor


def _blocks(descriptors: np.ndarray) -> Iterator[np.ndarray]:
    """Blocks of columns in float64."""
    count, size = descriptors.shape
    step = max(1, _BLOCK // max(count, 1))
    for start in range(0, size, step):
        yield np.asarray(descriptors[:, start : start + step], np.float64)
