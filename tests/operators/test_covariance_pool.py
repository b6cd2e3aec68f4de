"""`covariance_pool`: the common tests, and a large mean."""

import numpy as np
import pytest

from bilinear.testing import REFERENCE

from ..subjects import PRESENT, driver
from .suite import operator_tests

TestReference, TestParity, TestTransforms = operator_tests("covariance_pool")


@pytest.mark.parametrize("backend", ["reference", *PRESENT])
def test_a_large_mean_costs_no_accuracy(backend: str) -> None:
    """E[x xᵀ] − μ μᵀ would lose all digits by cancellation."""
    x = np.array([[[1.0, 0.0], [-1.0, 2.0]]], np.float32) + np.float32(2**20)
    expected = np.array([[[1.0, -1.0], [-1.0, 1.0]]])
    covariance = REFERENCE if backend == "reference" else driver(backend)
    assert covariance.forward("covariance_pool", [x], {}).tolist() == expected.tolist()
