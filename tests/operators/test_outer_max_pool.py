"""`outer_max_pool`: the common tests, ties and blocks of channels."""

import numpy as np
import pytest

from bilinear.testing import DTYPES, Case, check_against_reference
from bilinear.testing.cases import normal

from ..subjects import driver, kit_driver, over_backends
from .suite import operator_tests

TestReference, TestParity, TestTransforms = operator_tests("outer_max_pool")


@over_backends
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("masked", [False, True])
def test_ties_share_the_gradient_exactly(dtype: str, masked: bool, backend: str) -> None:
    """For integers and ties of 1, 2, 4 or 8 locations, products, shares and sums are exact."""
    rng = np.random.default_rng(2)
    x = rng.choice([-1, 1], (2, 8, 3)) * rng.integers(1, 4, (2, 1, 3))
    y = np.repeat(rng.integers(-3, 4, (2, 1, 2)), 8, axis=1)
    mask = rng.random((2, 8)) < 0.7 if masked else np.ones((2, 8), bool)
    products = np.where(mask[..., None, None], x[..., None] * y[:, :, None], -99)
    is_maximum = products == products.max(1, keepdims=True)
    count = is_maximum.sum(1)
    assert {2, 4} & set(count.flat)
    ct = np.where(count & (count - 1) == 0, rng.choice([-8, 8], (2, 3, 2)), 0)
    shares = np.where(is_maximum, (ct // count)[:, None], 0)
    expected = np.einsum("nlcd,nld->nlc", shares, y), np.einsum("nlcd,nlc->nld", shares, x)
    arrays = tuple(a.astype(DTYPES[dtype]) for a in (x, y))
    options, cotangent = {"mask": mask} if masked else {}, ct.astype(DTYPES[dtype])
    for mode in driver(backend).modes if (dtype, masked) == ("float32", True) else ("eager",):
        value = kit_driver(backend).value("outer_max_pool", arrays, options, mode)
        np.testing.assert_array_equal(value.astype(int), products.max(1))
        results = kit_driver(backend).gradients("outer_max_pool", cotangent, arrays, options, mode)
        for result, exact in zip(results, expected, strict=True):
            np.testing.assert_array_equal(result.astype(int), exact)


@over_backends
@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_blocks_of_many_channels(backend: str, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if backend == "torch":
        monkeypatch.setattr("bilinear.backends.torch.outer_max_pool.BLOCK", 2048)
    elif backend == "tensorflow":
        monkeypatch.setattr("bilinear.backends.tensorflow.outer_max_pool.BLOCK", 4)
    x, y = normal(dtype, 2, 5, 19), normal(dtype, 2, 5, 7, seed=1)
    mask = np.array([[True, False, True, True, True], [True] * 5])
    case, cotangent = Case((x, y), {"mask": mask}), normal(dtype, 2, 19, 7, seed=2)
    check_against_reference(kit_driver(backend), "outer_max_pool", case, cotangent)
