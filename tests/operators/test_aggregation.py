"""Democratic weights and the maximum of outer products: what their papers and ties ask of them."""

import importlib

import numpy as np
import pytest

from bilinear import reference
from bilinear.contract.aggregation import DAMPING, GAMMA, STEPS, WEIGHT_EPS
from bilinear.testing import DTYPES, Case, check_against_reference
from bilinear.testing.cases import seeded
from bilinear.testing.closeness import assert_rounded

from ..subjects import PRESENT, certified, driver

X = seeded("float64", 2, 5, 6)
KEEP = np.array([[True, False, True, True, True], [True] * 5])
SETTLED = 200
"""Sinkhorn steps after which nothing moves: each shrinks what is missing by a third or more."""

over_backends = pytest.mark.parametrize("backend", PRESENT)


def kernel(x: np.ndarray) -> np.ndarray:
    return (x @ x.swapaxes(1, 2)) ** 2


@pytest.mark.parametrize("gamma", [0.0, 0.25, 0.5, 1.0])
def test_contributions_become_what_they_are_to_be(gamma: float) -> None:
    alpha = reference.democratic_weights(X, gamma=gamma, steps=SETTLED, eps=1e-300)
    contributions = alpha * np.einsum("nlm,nm->nl", kernel(X), alpha)
    assert_rounded(contributions, kernel(X).sum(2) ** gamma, 100)


def test_the_aggregate_has_equal_shares_of_every_location() -> None:
    """The squared length of ``Σ α x xᵀ`` is the sum of the contributions."""
    alpha = reference.democratic_weights(X, gamma=0.0, steps=SETTLED, eps=1e-300)
    pooled = reference.outer_pool(X * np.sqrt(alpha)[..., None], reduction="sum")
    shares = alpha * np.einsum("nlc,ncd,nld->nl", X, pooled, X)
    assert_rounded(shares, 1.0, 200)
    assert_rounded((pooled**2).sum((1, 2)), X.shape[1], 200)


def test_sum_pooling_is_the_limit_of_gamma_1() -> None:
    assert_rounded(reference.democratic_weights(X, gamma=1.0, eps=1e-300), 1, 10)
    assert abs(reference.democratic_weights(X, gamma=1.0) - 1).max() < 1e-9


def test_masked_locations_are_as_if_not_there() -> None:
    alpha = reference.democratic_weights(X[:1], mask=KEEP[:1])
    assert alpha[~KEEP[:1]].tolist() == [0]
    assert_rounded(alpha[KEEP[:1]], reference.democratic_weights(X[:1, KEEP[0]])[0], 100)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("zeros", [slice(1, 2), slice(None)])
def test_a_zero_vector_keeps_its_weight_and_has_no_slope(zeros: slice, gamma: float) -> None:
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
    """γ = .5, τ = .5, ten steps, ε = 1e-10, √(α + 1e-8), and a sum, in one place."""
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
def test_the_defaults_are_the_published_ones(backend: str) -> None:
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
def test_democracy_is_of_one_map(backend: str) -> None:
    door = importlib.import_module(f"bilinear.{backend}")
    for pool in (door.HierarchicalBilinearPool([6, 6], 2), door.CompactBilinearPool([6, 6], 2)):
        requirement = "DemocraticPool: pool must be a layer of one feature map"
        sentence = f"{requirement}; got a {type(pool).__name__} of 2 feature maps"
        with pytest.raises(ValueError, match=sentence):
            door.DemocraticPool(pool)
    door.DemocraticPool(door.LowRankBilinearClassifier(6, 3, rank=2))


@over_backends
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("masked", [False, True])
def test_ties_share_to_the_last_bit(dtype: str, masked: bool, backend: str) -> None:
    """Integers; where one, two, four or eight tie, every product, share and sum is exact."""
    rng = np.random.default_rng(2)
    x = rng.choice([-1, 1], (2, 8, 3)) * rng.integers(1, 4, (2, 1, 3))
    y = np.repeat(rng.integers(-3, 4, (2, 1, 2)), 8, axis=1)
    keep = rng.random((2, 8)) < 0.7 if masked else np.ones((2, 8), bool)
    products = np.where(keep[..., None, None], x[..., None] * y[:, :, None], -99)
    reached = products == products.max(1, keepdims=True)
    count = reached.sum(1)
    assert {2, 4} & set(count.flat)
    ct = np.where(count & (count - 1) == 0, rng.choice([-8, 8], (2, 3, 2)), 0)
    shares = np.where(reached, (ct // count)[:, None], 0)
    expected = np.einsum("nlcd,nld->nlc", shares, y), np.einsum("nlcd,nlc->nld", shares, x)
    arrays = tuple(a.astype(DTYPES[dtype]) for a in (x, y))
    options, given = {"mask": keep} if masked else {}, ct.astype(DTYPES[dtype])
    for mode in driver(backend).modes if (dtype, masked) == ("float32", True) else ("eager",):
        value = certified(backend).value("outer_max_pool", arrays, options, mode)
        np.testing.assert_array_equal(value.astype(int), products.max(1))
        results = certified(backend).gradients("outer_max_pool", given, arrays, options, mode)
        for result, exact in zip(results, expected, strict=True):
            np.testing.assert_array_equal(result.astype(int), exact)


@over_backends
def test_one_stream_shares_on_both_sides(backend: str) -> None:
    """Of c ≠ d twice: (c, d) and (d, c) have their own cotangents."""
    x = np.array([[[1.0, 2.0], [1.0, 2.0], [0.0, -1.0]]])
    ct = np.array([[[2.0, 4.0], [8.0, 16.0]]])
    (gradient,) = certified(backend).gradients("outer_max_pool", ct, (x,), {})
    shared = [2 * 2 + 2 * 4 + 2 * 8, 4 + 8 + 4 * 16]
    np.testing.assert_array_equal(gradient, [[np.array(shared) / 2, np.array(shared) / 2, [0, 0]]])


@over_backends
@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_many_channels_are_worked_on_in_blocks(
    backend: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if backend == "torch":
        monkeypatch.setattr("bilinear.backends.torch._maxima.BLOCK", 2048)
    elif backend == "tensorflow":
        monkeypatch.setattr("bilinear.backends.tensorflow.outer_max_pool.BLOCK", 4)
    x, y = seeded(dtype, 2, 5, 19), seeded(dtype, 2, 5, 7, seed=1)
    case, cotangent = Case((x, y), {"mask": KEEP}), seeded(dtype, 2, 19, 7, seed=2)
    check_against_reference(certified(backend), "outer_max_pool", case, cotangent)
