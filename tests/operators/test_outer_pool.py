"""`outer_pool`: the battery, transforms, and a gradient computed by hand."""

import numpy as np
import pytest

from bilinear import reference
from bilinear.testing.closeness import assert_rounded

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

TestReference = specification("outer_pool")
TestParity = parity("outer_pool")


class TestDerivation(Derivation):
    op = "outer_pool"


class TestTransforms(Transforms):
    op = "outer_pool"


@pytest.mark.parametrize(
    ("arrays", "options"),
    [
        ((MAP, None), (None, "mean")),
        ((MAP, OTHER), (VALID, "mean")),
        ((MAP, OTHER), (None, "sum")),
    ],
)
def test_vjp_is_the_complex_step_derivative(arrays: tuple, options: tuple) -> None:
    check_complex_step("outer_pool", arrays, options)


def test_the_gradient_of_one_stream_uses_the_cotangent_and_its_transpose() -> None:
    gamma = np.array([[[0.0, 1.0], [0.0, 0.0]]])
    x = np.array([[[2.0, 3.0]]])
    (gradient,) = reference.outer_pool_vjp(gamma, x)
    np.testing.assert_array_equal(gradient, [[[3.0, 2.0]]])  # 2ΓX would be [6, 0]


def test_flattening_is_row_major() -> None:
    x, y = np.array([[[1.0, 2.0]]]), np.array([[[1.0, 10.0, 100.0]]])
    pooled = reference.outer_pool(x, y)
    assert pooled.tolist() == [[[1.0, 10.0, 100.0], [2.0, 20.0, 200.0]]]
    descriptor = reference.bilinear_pool(x, y, eps=0.0)
    assert_rounded(descriptor[0] / descriptor[0, 0], np.sqrt(pooled.ravel()), 20)
