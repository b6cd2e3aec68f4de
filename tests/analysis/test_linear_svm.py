"""Linear SVMs on descriptors: their solution, their scale, and the inputs that are refused."""

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the extra svm is absent")

from scipy.optimize import minimize

from bilinear.analysis.linear_svm import fit_linear_svms, linear_scores

RNG = np.random.default_rng(3)
LABELS = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2])
SOLVER = 2e-3
"""Largest error of a score: liblinear stops at a tolerance of 1e-4."""


def unit_rows(size: int, count: int = 12) -> np.ndarray:
    """Noisy descriptors of length 1 of three classes."""
    rows = RNG.standard_normal((count, size)) / 3
    rows[:, :3] += np.eye(3)[LABELS[:count]]
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def fit(rows: np.ndarray, labels: np.ndarray, c: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    (svm,) = fit_linear_svms(rows, labels, int(labels.max()) + 1, [c])
    return svm


def solve_dual(rows: np.ndarray, signs: np.ndarray, c: float) -> np.ndarray:
    """The scores of ``min ½‖w‖² + ½b² + c Σ max(0, 1 − y (w·x + b))``, by its dual problem."""
    kernel = rows @ rows.T + 1
    matrix = kernel * signs[:, None] * signs
    found = minimize(
        lambda a: a @ matrix @ a / 2 - a.sum(),
        np.zeros(len(rows)),
        jac=lambda a: matrix @ a - 1,
        bounds=[(0, c)] * len(rows),
        method="L-BFGS-B",
        options={"ftol": 1e-15, "gtol": 1e-10},
    )
    return kernel @ (found.x * signs)


@pytest.mark.parametrize("size", [5, 40])
@pytest.mark.parametrize("c", [0.1, 1.0, 10.0])
def test_the_scores_are_those_of_the_dual_problem(size: int, c: float) -> None:
    """With fewer and with more values than images; the medians of the scores are 1 and −1."""
    rows = unit_rows(size)
    scores = linear_scores(fit(rows, LABELS, c), rows)
    for label in range(3):
        own = label == LABELS
        expected = solve_dual(rows.astype(np.float64), np.where(own, 1.0, -1.0), c)
        high, low = np.median(expected[own]), np.median(expected[~own])
        expected = (2 * expected - high - low) / (high - low)
        np.testing.assert_allclose(scores[:, label], expected, atol=SOLVER)
        medians = np.median(scores[own, label]), np.median(scores[~own, label])
        np.testing.assert_allclose(medians, (1, -1), atol=1e-9)


def test_weights_are_those_of_the_given_descriptors() -> None:
    """Zeros that are appended, and a common factor, change no score."""
    rows = unit_rows(5)
    wide = np.concatenate([rows, np.zeros((12, 30), np.float32)], 1)
    scores = linear_scores(fit(rows, LABELS), rows)
    weight, bias = fit(wide, LABELS)
    assert weight.shape == (3, 35)
    np.testing.assert_allclose(wide @ weight.T + bias, scores, atol=SOLVER)
    for given in rows, wide:
        scaled = fit(4 * given, LABELS)
        np.testing.assert_allclose(linear_scores(scaled, 4 * given), scores, atol=SOLVER)


def test_two_classes_have_opposite_scores() -> None:
    rows, labels = unit_rows(7), LABELS % 2
    scores = linear_scores(fit(rows, labels), rows)
    np.testing.assert_allclose(scores[:, 0], -scores[:, 1], atol=1e-12)
    np.testing.assert_allclose(np.median(scores[labels == 1, 1]), 1, atol=1e-9)


@pytest.mark.parametrize(
    ("rows", "labels", "classes", "words"),
    [
        (unit_rows(5), np.zeros(12, int), 1, "each of 1 classes, two or more, must have an image"),
        (unit_rows(5), LABELS, 4, "each of 4 classes, .*; got labels of 3 classes"),
        (np.zeros((12, 5)), LABELS, 3, "must be finite and not all 0; got length 0"),
        (np.full((12, 5), np.nan), LABELS, 3, "must be finite and not all 0; got length nan"),
        (np.ones((12, 5)), LABELS, 3, "above that of the others; got not so for class 0"),
    ],
)
def test_invalid_inputs_are_refused(rows, labels, classes, words) -> None:
    with pytest.raises(ValueError, match=f"fit_linear_svms: .*{words}"):
        next(fit_linear_svms(rows, labels, classes, [1.0]))
