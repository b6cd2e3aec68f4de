"""`democratic_weights`: the common tests, and the properties that its paper states."""

import numpy as np
import pytest

from bilinear import reference
from bilinear.contract.aggregation import WEIGHT_EPS
from bilinear.testing import Case
from bilinear.testing.cases import normal
from bilinear.testing.closeness import assert_rounded

from .suite import MAP, operator_tests

TestReference, TestParity, TestTransforms = operator_tests("democratic_weights", Case((MAP,), {}))


X = normal("float64", 2, 5, 6)

MASK = np.array([[True, False, True, True, True], [True] * 5])


@pytest.mark.parametrize("gamma", [0.0, 0.25, 0.5, 1.0])
def test_contributions_equal_their_targets(gamma: float) -> None:
    """Each of the 200 Sinkhorn steps reduces the error by a third or more."""
    alpha = reference.democratic_weights(X, gamma=gamma, steps=200, eps=1e-300)
    kernel = (X @ X.swapaxes(1, 2)) ** 2
    contributions = alpha * np.einsum("nlm,nm->nl", kernel, alpha)
    assert_rounded(contributions, kernel.sum(2) ** gamma, 100)


def test_a_mask_equals_removing_the_locations() -> None:
    alpha = reference.democratic_weights(X[:1], mask=MASK[:1])
    assert alpha[~MASK[:1]].tolist() == [0]
    assert_rounded(alpha[MASK[:1]], reference.democratic_weights(X[:1, MASK[0]])[0], 100)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("zeros", [slice(1, 2), slice(None)])
def test_a_zero_vector_has_weight_1_and_gradient_0(zeros: slice, gamma: float) -> None:
    x = X.copy()
    x[:, zeros] = 0
    weights = reference.democratic_weights(x, gamma=gamma)
    (slope,) = reference.democratic_weights_vjp(np.ones((2, 5)), x, gamma=gamma)
    assert abs(weights[:, zeros] - 1).max() < 1e-4  # √ε of a step
    assert np.isfinite(slope).all()
    assert not slope[:, zeros].any()


def test_the_defaults_are_as_published() -> None:
    published = {"gamma": 0.5, "damping": 0.5, "steps": 10, "eps": 1e-10}
    alpha, expected = (reference.democratic_weights(X, **options) for options in ({}, published))
    np.testing.assert_array_equal(alpha, expected)
    assert WEIGHT_EPS == 1e-8
