"""`covariance_pool`: the battery, transforms, one location and a large mean."""

from typing import Any

import numpy as np
import pytest

from bilinear.testing import REFERENCE
from bilinear.testing.cases import normal

from ..subjects import PRESENT, driver
from .suite import (
    MAP,
    OTHER,
    VALID,
    Derivation,
    Transforms,
    check_complex_step,
    parity,
    specification,
)

TestReference = specification("covariance_pool")
TestParity = parity("covariance_pool")


class TestDerivation(Derivation):
    op = "covariance_pool"


class TestTransforms(Transforms):
    op = "covariance_pool"


@pytest.mark.parametrize(
    ("arrays", "options"),
    [
        ((MAP, None), (None,)),
        ((MAP, OTHER), (VALID,)),
    ],
)
def test_vjp_is_the_complex_step_derivative(arrays: tuple, options: tuple) -> None:
    check_complex_step("covariance_pool", arrays, options)


BACKENDS = ["reference", *PRESENT]

every_backend = pytest.mark.parametrize("backend", BACKENDS)


def of(backend: str) -> Any:
    return REFERENCE if backend == "reference" else driver(backend)


@every_backend
def test_one_location_has_no_covariance_and_no_gradient(backend) -> None:
    x, y = normal("float32", 2, 1, 3) + 5, normal("float32", 2, 1, 2, seed=1)
    for streams in ([x], [x, y]):
        shape = 2, 3, streams[-1].shape[2]
        assert not of(backend).forward("covariance_pool", streams, {}).any()
        cotangent = normal("float32", *shape)
        for gradient in of(backend).vjp("covariance_pool", cotangent, streams, {}):
            assert not gradient.any()


@every_backend
def test_a_large_mean_costs_no_accuracy(backend) -> None:
    """E[x xᵀ] − μ μᵀ would lose all digits by cancellation."""
    x = np.array([[[1.0, 0.0], [-1.0, 2.0]]], np.float32) + np.float32(2**20)
    expected = np.array([[[1.0, -1.0], [-1.0, 1.0]]])
    assert of(backend).forward("covariance_pool", [x], {}).tolist() == expected.tolist()
