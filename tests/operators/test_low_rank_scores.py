"""`low_rank_scores`: the battery, transforms, and the classifier that it factorises."""

import numpy as np
import pytest

from bilinear import reference
from bilinear.testing.cases import normal
from bilinear.testing.closeness import assert_rounded

from .suite import (
    MAP,
    VALID,
    Derivation,
    Transforms,
    check_complex_step,
    parity,
    specification,
)

TestReference = specification("low_rank_scores")
TestParity = parity("low_rank_scores")


class TestDerivation(Derivation):
    op = "low_rank_scores"


class TestTransforms(Transforms):
    op = "low_rank_scores"


@pytest.mark.parametrize(
    ("arrays", "options"),
    [
        ((MAP, MAP.mT[..., :2], MAP.mT[..., 2:3], MAP[0, 0, :2]), (VALID, "mean")),
    ],
)
def test_vjp_is_the_complex_step_derivative(arrays: tuple, options: tuple) -> None:
    check_complex_step("low_rank_scores", arrays, options)


X, Y = normal("float64", 2, 5, 3), normal("float64", 2, 5, 2, seed=1)

KEEP = np.array([[True, False, True, True, False], [True] * 5])


def test_scores_equal_those_of_the_full_bilinear_classifier() -> None:
    plus, minus, bias = _classifier()
    forms = plus @ plus.mT - minus @ minus.mT
    for options in ({}, {"mask": KEEP, "reduction": "mean"}):
        g = reference.outer_pool(X, **{"reduction": "sum", **options})
        expected = np.einsum("kcd,ncd->nk", forms, g) + bias
        result = reference.low_rank_scores(X, plus, minus, bias, **options)
        assert_rounded(result, expected, 64)


def test_scores_are_as_published() -> None:
    """The score of each class is Σ (U₊ᵀ X)² − Σ (U₋ᵀ X)² + b, summed over locations."""
    plus, minus, bias = _classifier()
    result = reference.low_rank_scores(X, plus, minus, bias)
    for n in range(len(X)):
        for k in range(len(plus)):
            energies = [np.linalg.norm(u[k].T @ X[n].T, "fro") ** 2 for u in (plus, minus)]
            expected = np.array([energies[0] - energies[1] + bias[k]])
            assert_rounded(result[n, k : k + 1], expected, 32, scale=sum(energies))


def _classifier() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    shapes = (4, 3, 2), (4, 3, 1), (4,)
    plus, minus, bias = (normal("float64", *s, seed=i) for i, s in enumerate(shapes))
    return plus, minus, bias
