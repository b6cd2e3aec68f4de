"""`democratic_weights`: the battery, transforms, and the properties that its paper states."""

import importlib

import numpy as np
import pytest

from bilinear import reference
from bilinear.contract.aggregation import DAMPING, GAMMA, STEPS, WEIGHT_EPS
from bilinear.testing.cases import normal
from bilinear.testing.closeness import assert_rounded

from ..subjects import driver
from .suite import (
    MAP,
    VALID,
    Derivation,
    Transforms,
    check_complex_step,
    over_backends,
    parity,
    specification,
)

TestReference = specification("democratic_weights")
TestParity = parity("democratic_weights")


class TestDerivation(Derivation):
    op = "democratic_weights"


class TestTransforms(Transforms):
    op = "democratic_weights"


@pytest.mark.parametrize(
    ("arrays", "options"),
    [
        ((MAP,), (0.5, 0.5, 10, 1e-10, None, False)),
        ((MAP,), (0.25, 0.75, 2, 0.001, VALID, False)),
    ],
)
def test_vjp_is_the_complex_step_derivative(arrays: tuple, options: tuple) -> None:
    check_complex_step("democratic_weights", arrays, options)


X = normal("float64", 2, 5, 6)

KEEP = np.array([[True, False, True, True, True], [True] * 5])

CONVERGED = 200
"""Sinkhorn steps until convergence: each step reduces the error by a third or more."""


def kernel(x: np.ndarray) -> np.ndarray:
    return (x @ x.swapaxes(1, 2)) ** 2


@pytest.mark.parametrize("gamma", [0.0, 0.25, 0.5, 1.0])
def test_contributions_equal_their_targets(gamma: float) -> None:
    alpha = reference.democratic_weights(X, gamma=gamma, steps=CONVERGED, eps=1e-300)
    contributions = alpha * np.einsum("nlm,nm->nl", kernel(X), alpha)
    assert_rounded(contributions, kernel(X).sum(2) ** gamma, 100)


def test_every_location_has_an_equal_share_of_the_aggregate() -> None:
    """The squared length of ``Σ α x xᵀ`` is the sum of the contributions."""
    alpha = reference.democratic_weights(X, gamma=0.0, steps=CONVERGED, eps=1e-300)
    pooled = reference.outer_pool(X * np.sqrt(alpha)[..., None], reduction="sum")
    shares = alpha * np.einsum("nlc,ncd,nld->nl", X, pooled, X)
    assert_rounded(shares, 1.0, 200)
    assert_rounded((pooled**2).sum((1, 2)), X.shape[1], 200)


def test_sum_pooling_is_the_limit_of_gamma_1() -> None:
    assert_rounded(reference.democratic_weights(X, gamma=1.0, eps=1e-300), 1, 10)
    assert abs(reference.democratic_weights(X, gamma=1.0) - 1).max() < 1e-9


def test_a_mask_equals_removing_the_locations() -> None:
    alpha = reference.democratic_weights(X[:1], mask=KEEP[:1])
    assert alpha[~KEEP[:1]].tolist() == [0]
    assert_rounded(alpha[KEEP[:1]], reference.democratic_weights(X[:1, KEEP[0]])[0], 100)


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


def test_constant_targets_have_another_gradient() -> None:
    both = [
        reference.democratic_weights_vjp(np.ones((2, 5)), X, detach_target=detach)[0]
        for detach in (False, True)
    ]
    assert abs(both[0] - both[1]).max() > 1e-3


def published(x: np.ndarray) -> np.ndarray:
    """Sum pooling with √(α + 1e-8), γ = τ = 0.5, ten steps and ε = 1e-10."""
    results = []
    for sample in x:
        k = np.dot(sample, sample.T) ** 2
        c = np.sum(k, axis=1, keepdims=True) ** 0.5
        alpha = np.ones_like(c)
        for _ in range(10):
            below = (np.dot(k, alpha) + 1e-10) ** 0.5 + 1e-10
            alpha = (c + 1e-10) ** 0.5 * (alpha + 1e-10) ** 0.5 / below
        scaled = sample * (alpha + 1e-8) ** 0.5
        results.append(np.dot(scaled.T, scaled))
    return np.stack(results)


@over_backends
def test_the_defaults_are_as_published(backend: str) -> None:
    assert (GAMMA, DAMPING, STEPS, WEIGHT_EPS) == (0.5, 0.5, 10, 1e-8)
    alpha = driver(backend).forward("democratic_weights", (X,), {})
    scaled = X * np.sqrt(alpha + WEIGHT_EPS)[..., None]
    pooled = driver(backend).forward("outer_pool", (scaled,), {"reduction": "sum"})
    expected = published(X)
    assert_rounded(pooled, expected, 200)
    cotangent = np.ones((2, 36))
    result, _ = driver(backend).layer("DemocraticPool", cotangent, (X[:, :, None],))
    descriptor = reference.l2_normalize(reference.signed_sqrt(expected.reshape(2, 36)))
    assert_rounded(result, descriptor, 1000)


@over_backends
def test_pools_of_two_feature_maps_are_refused(backend: str) -> None:
    namespace = importlib.import_module(f"bilinear.{backend}")
    for pool in (
        namespace.HierarchicalBilinearPool([6, 6], 2),
        namespace.CompactBilinearPool([6, 6], 2),
    ):
        requirement = "DemocraticPool: pool must be a layer of one feature map"
        sentence = f"{requirement}; got a {type(pool).__name__} of 2 feature maps"
        with pytest.raises(ValueError, match=sentence):
            namespace.DemocraticPool(pool)
    namespace.DemocraticPool(namespace.LowRankBilinearClassifier(6, 3, rank=2))
