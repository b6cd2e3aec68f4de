"""`half_vectorize`: the battery, transforms, and inner products, which it preserves."""

import numpy as np
import pytest

from bilinear import reference
from bilinear.testing.cases import normal
from bilinear.testing.closeness import assert_rounded

from .suite import (
    Derivation,
    Transforms,
    check_complex_step,
    parity,
    specification,
)

TestReference = specification("half_vectorize")
TestParity = parity("half_vectorize")

SQUARE = normal("float64", 2, 3, 3)


class TestDerivation(Derivation):
    op = "half_vectorize"


class TestTransforms(Transforms):
    op = "half_vectorize"


@pytest.mark.parametrize(
    ("arrays", "options"),
    [
        ((SQUARE,), (True,)),
        ((SQUARE,), (False,)),
    ],
)
def test_vjp_is_the_complex_step_derivative(arrays: tuple, options: tuple) -> None:
    check_complex_step("half_vectorize", arrays, options)


def test_packing_preserves_inner_products_of_symmetric_matrices() -> None:
    g, other = SQUARE + SQUARE.mT, SQUARE @ SQUARE.mT
    packed = reference.half_vectorize(g)
    assert_rounded(packed[0], g[0][np.triu_indices(3)] * [1, 2**0.5, 2**0.5, 1, 2**0.5, 1], 2)
    inner = np.sum(packed * reference.half_vectorize(other), 1)
    assert_rounded(inner, np.sum(g * other, (1, 2)), 30)
    plain = reference.half_vectorize(np.arange(9.0).reshape(1, 3, 3), isometric=False)
    assert plain.tolist() == [[0, 1, 2, 4, 5, 8]]
