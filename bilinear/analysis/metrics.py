"""How good logits are: pure functions of NumPy arrays, equal for every framework.

Logits are (N, K), of any real floating type, and labels (N,), whole numbers from 0 to K − 1.
Everything is computed in float64. No images are an error: a mean of nothing is no number.
"""

import numpy as np

from ..contract import refuse

BINS = 15
"""Of `calibration_error`, as Guo et al. 2017 have them."""


def softmax(logits: np.ndarray) -> np.ndarray:
    """``p_k = exp(z_k) / Σ_j exp(z_j)`` over the last axis, in float64.

    The largest logit is taken off first, so that none overflows.
    """
    powers = np.exp(_shifted(logits))
    return powers / powers.sum(-1, keepdims=True)


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    """The mean of ``log Σ_j exp(z_j) − z_label``, in nats."""
    labels = _checked("cross_entropy", logits, labels)
    z = _shifted(logits)
    return float((np.log(np.exp(z).sum(-1)) - z[np.arange(len(z)), labels]).mean())


def top_k(logits: np.ndarray, k: int) -> np.ndarray:
    """The classes of the k largest logits, largest first: (N, min(k, K)). Of equal ones the first
    class comes first."""
    return np.argsort(-np.asarray(logits, np.float64), axis=-1, kind="stable")[..., :k]


def top_k_accuracy(logits: np.ndarray, labels: np.ndarray, k: int = 1) -> float:
    """The share of images whose label is among `top_k`; 1 where K ≤ k."""
    labels = _checked("top_k_accuracy", logits, labels)
    return float((top_k(logits, k) == labels[:, None]).any(1).mean())


def confusion_matrix(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """``M[i, j]``, how many images of class i are taken for class j: (K, K) int64."""
    labels = _checked("confusion_matrix", logits, labels)
    matrix = np.zeros((logits.shape[1],) * 2, np.int64)
    np.add.at(matrix, (labels, top_k(logits, 1)[:, 0]), 1)
    return matrix


def class_accuracies(confusion: np.ndarray) -> np.ndarray:
    """``M[i, i] / Σ_j M[i, j]`` for each class, (K,) float64; NaN for a class without images."""
    counts = confusion.sum(1)
    share = np.full(len(confusion), np.nan)
    return np.divide(np.diag(confusion), counts, out=share, where=counts > 0)


def calibration_error(logits: np.ndarray, labels: np.ndarray, bins: int = BINS) -> float:
    """The expected calibration error, ``ECE = Σ_b (n_b / N) · |acc_b − conf_b|``.

    Bin b holds the n_b images whose confidence, the largest probability, lies in
    ``((b − 1) / bins, b / bins]``; acc_b is the share of them that is right, conf_b their mean
    confidence. Source: Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks",
    ICML 2017, equation 3.
    """
    labels = _checked("calibration_error", logits, labels)
    confidence = softmax(logits).max(1)
    right = top_k(logits, 1)[:, 0] == labels
    edges = np.linspace(0, 1, bins + 1)
    place = np.searchsorted(edges, confidence, side="left") - 1
    place = np.clip(place, 0, bins - 1)  # a rounded probability may exceed 1 by an ulp
    gaps = np.bincount(place, right - confidence, minlength=bins)  # n_b · (acc_b − conf_b)
    return float(np.abs(gaps).sum() / len(labels))


def _shifted(logits: np.ndarray) -> np.ndarray:
    z = np.asarray(logits, np.float64)
    return z - z.max(-1, keepdims=True)


def _checked(op: str, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The labels as an array. Raises: ValueError for shapes or labels that do not fit."""
    shape, labels = np.shape(logits), np.asarray(labels)
    if len(shape) != 2 or labels.shape != shape[:1] or not len(labels):
        received = f"logits {shape} and labels {labels.shape}"
        invariant = "logits must be (N, K), labels (N,), and N at least 1"
        refuse(ValueError, op, invariant, received, "Give each image its label.")
    if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= shape[1]:
        received = f"{labels.dtype} from {labels.min()} to {labels.max()}"
        invariant = f"labels must be whole numbers from 0 to {shape[1] - 1}"
        refuse(ValueError, op, invariant, received, "Number the classes as the model does.")
    return labels
