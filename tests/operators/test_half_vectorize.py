"""`half_vectorize`: the common tests, and inner products, which it preserves."""

import numpy as np

from bilinear import reference
from bilinear.testing.cases import normal
from bilinear.testing.closeness import assert_rounded

from .suite import operator_tests

TestReference, TestParity, TestTransforms = operator_tests("half_vectorize")


def test_packing_preserves_inner_products_of_symmetric_matrices() -> None:
    square = normal("float64", 2, 3, 3)
    g, other = square + square.mT, square @ square.mT
    packed = reference.half_vectorize(g)
    assert_rounded(packed[0], g[0][np.triu_indices(3)] * [1, 2**0.5, 2**0.5, 1, 2**0.5, 1], 2)
    inner = np.sum(packed * reference.half_vectorize(other), 1)
    assert_rounded(inner, np.sum(g * other, (1, 2)), 30)
    plain = reference.half_vectorize(np.arange(9.0).reshape(1, 3, 3), isometric=False)
    assert plain.tolist() == [[0, 1, 2, 4, 5, 8]]
