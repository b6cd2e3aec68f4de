"""`outer_pool`: the common tests, and the order of entries."""

import numpy as np

from bilinear import reference
from bilinear.testing.closeness import assert_rounded

from .suite import operator_tests

TestReference, TestParity, TestTransforms = operator_tests("outer_pool")


def test_flattening_is_row_major() -> None:
    x, y = np.array([[[1.0, 2.0]]]), np.array([[[1.0, 10.0, 100.0]]])
    pooled = reference.outer_pool(x, y)
    assert pooled.tolist() == [[[1.0, 10.0, 100.0], [2.0, 20.0, 200.0]]]
    descriptor = reference.bilinear_pool(x, y, eps=0.0)
    assert_rounded(descriptor[0] / descriptor[0, 0], np.sqrt(pooled.ravel()), 20)
