"""Metrics on logits with known results."""

import math

import numpy as np
import pytest

from bilinear.analysis import metrics

LOGITS = np.log(
    np.array(
        [
            [0.70, 0.20, 0.10],  # correct
            [0.25, 0.50, 0.25],  # wrong: class 2 is third, because ties are in class order
            [0.10, 0.30, 0.60],  # correct
            [0.20, 0.70, 0.10],  # wrong: class 0 is second
        ]
    )
)
LABELS = np.array([0, 2, 2, 0])


def test_softmax_sums_to_one_and_does_not_overflow() -> None:
    np.testing.assert_allclose(metrics.softmax(LOGITS + 5), np.exp(LOGITS), rtol=1e-15)
    huge = metrics.softmax(np.array([[1e4, 0, -1e4], [3e38, 3e38, 0]], np.float32))
    np.testing.assert_array_equal(huge, [[1, 0, 0], [0.5, 0.5, 0]])


def test_cross_entropy() -> None:
    expected = -np.mean(np.log([0.7, 0.25, 0.6, 0.2]))
    assert metrics.cross_entropy(LOGITS, LABELS) == pytest.approx(expected, rel=1e-15)
    assert metrics.cross_entropy(np.array([[0.0, 1e5]]), np.array([0])) == 1e5
    assert metrics.cross_entropy(np.zeros((2, 8), np.float16), np.array([3, 7])) == math.log(8)


def test_top_k() -> None:
    shares = [metrics.top_k_accuracy(LOGITS, LABELS, k) for k in (1, 2, 3, 9)]
    assert shares == [0.5, 0.75, 1.0, 1.0]
    np.testing.assert_array_equal(metrics.top_k(LOGITS, 2)[:2], [[0, 1], [1, 0]])
    np.testing.assert_array_equal(metrics.top_k(np.zeros((1, 4)), 3), [[0, 1, 2]])


def test_rows_of_the_confusion_matrix_are_true_classes() -> None:
    matrix = metrics.confusion_matrix(LOGITS, LABELS)
    np.testing.assert_array_equal(matrix, [[1, 1, 0], [0, 0, 0], [0, 1, 1]])
    assert matrix.dtype == np.int64
    np.testing.assert_array_equal(metrics.class_accuracies(matrix), [0.5, np.nan, 0.5])


def test_calibration_error_by_hand() -> None:
    """With two bins, a confidence of 0.5 is in (0, 1/2] and a confidence of 1 in (1/2, 1]."""
    halved = np.array([[0.0, 0.0], [1e3, 0.0]])
    assert metrics.calibration_error(halved, np.array([0, 1]), 2) == (0.5 + 1) / 2
    # with 15 bins: 0.7 is in (10/15, 11/15] twice, 0.6 in (8/15, 9/15], 0.5 in (7/15, 8/15]
    expected = (abs(1 - 1.4) + abs(1 - 0.6) + abs(0 - 0.5)) / 4
    assert metrics.calibration_error(LOGITS, LABELS) == pytest.approx(expected, abs=1e-15)
    certain = np.array([[1e3, 0.0], [1e3, 0.0]])
    assert metrics.calibration_error(certain, np.array([0, 0])) == 0
    assert metrics.calibration_error(certain, np.array([1, 1])) == 1


@pytest.mark.parametrize(
    ("logits", "labels"),
    [
        (LOGITS, LABELS[:3]),
        (LOGITS[0], LABELS[:1]),
        (LOGITS[:0], LABELS[:0]),
        (LOGITS, LABELS + 1),
        (LOGITS, LABELS - 1),
        (LOGITS, LABELS.astype(float)),
    ],
)
def test_invalid_arguments_are_refused(logits: np.ndarray, labels: np.ndarray) -> None:
    for metric in (
        metrics.cross_entropy,
        metrics.top_k_accuracy,
        metrics.confusion_matrix,
        metrics.calibration_error,
    ):
        with pytest.raises(ValueError, match=r"must be .*; got .*\. "):
            metric(logits, labels)
