"""Metrics of logits, as pure functions of NumPy arrays.

Logits are (N, K) of any real floating dtype. Labels are (N,) integers from 0 to K − 1. N must be at
least 1. All metrics are computed in float64.
"""

import numpy as np

from ..contract import refuse

BINS = 15
"""Default number of bins of `calibration_error`, as in Guo et al. 2017."""


def softmax(logits: np.ndarray) -> np.ndarray:
    """Compute ``p_k = exp(z_k) / Σ_j exp(z_j)`` over the last axis, in float64.

    The largest logit is subtracted first to avoid overflow.
    """
    powers = np.exp(_subtract_max(logits))
    return powers / powers.sum(-1, keepdims=True)


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean of ``log Σ_j exp(z_j) − z_label``, in nats."""
    labels = _check_labels("cross_entropy", logits, labels)
    z = _subtract_max(logits)
    return float((np.log(np.exp(z).sum(-1)) - z[np.arange(len(z)), labels]).mean())


def top_k(logits: np.ndarray, k: int) -> np.ndarray:
    """Classes of the k largest logits, largest first: (N, min(k, K)). Ties are in class order."""
    return np.argsort(-np.asarray(logits, np.float64), axis=-1, kind="stable")[..., :k]


def top_k_accuracy(logits: np.ndarray, labels: np.ndarray, k: int = 1) -> float:
    """Fraction of images whose label is in `top_k`; 1 if K ≤ k."""
    labels = _check_labels("top_k_accuracy", logits, labels)
    return float((top_k(logits, k) == labels[:, None]).any(1).mean())


def confusion_matrix(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """``M[i, j]`` = number of images of class i with predicted class j: (K, K) int64."""
    labels = _check_labels("confusion_matrix", logits, labels)
    matrix = np.zeros((logits.shape[1],) * 2, np.int64)
    np.add.at(matrix, (labels, top_k(logits, 1)[:, 0]), 1)
    return matrix


def class_accuracies(confusion: np.ndarray) -> np.ndarray:
    """``M[i, i] / Σ_j M[i, j]`` for each class, (K,) float64; NaN for a class without images."""
    counts = confusion.sum(1)
    share = np.full(len(confusion), np.nan)
    return np.divide(np.diag(confusion), counts, out=share, where=counts > 0)


def calibration_error(logits: np.ndarray, labels: np.ndarray, bins: int = BINS) -> float:
    """Expected calibration error, ``ECE = Σ_b (n_b / N) · |acc_b − conf_b|``.

    The confidence of an image is its largest probability. Bin b has the n_b images with confidence
    in ``((b − 1) / bins, b / bins]``, accuracy acc_b and mean confidence conf_b.

    References: Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks", ICML 2017,
        equation 3.
    """
    labels = _check_labels("calibration_error", logits, labels)
    confidence = softmax(logits).max(1)
    correct = top_k(logits, 1)[:, 0] == labels
    edges = np.linspace(0, 1, bins + 1)
    index = np.searchsorted(edges, confidence, side="left") - 1
    index = np.clip(index, 0, bins - 1)  # a rounded probability may exceed 1 by one ulp
    gaps = np.bincount(index, correct - confidence, minlength=bins)  # n_b · (acc_b − conf_b)
    return float(np.abs(gaps).sum() / len(labels))


def _subtract_max(logits: np.ndarray) -> np.ndarray:
    z = np.asarray(logits, np.float64)
    return z - z.max(-1, keepdims=True)


def _check_labels(op: str, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Convert the labels to an array. Raises: ValueError for invalid shapes or labels."""
    shape, labels = np.shape(logits), np.asarray(labels)
    if len(shape) != 2 or labels.shape != shape[:1] or not len(labels):
        received = f"logits {shape} and labels {labels.shape}"
        invariant = "logits must be (N, K) and labels (N,) with N at least 1"
        refuse(ValueError, op, invariant, received, "Pass one label for each image.")
    if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= shape[1]:
        received = f"{labels.dtype} from {labels.min()} to {labels.max()}"
        invariant = f"labels must be integers from 0 to {shape[1] - 1}"
        refuse(ValueError, op, invariant, received, "Number the classes as the model does.")
    return labels
