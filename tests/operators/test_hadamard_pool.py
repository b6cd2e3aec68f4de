"""`hadamard_pool`: the common tests, and the order of pairs."""

import numpy as np

from bilinear import reference
from bilinear.testing import Case

from .suite import MAP, operator_tests

TestReference, TestParity, TestTransforms = operator_tests(
    "hadamard_pool", Case((MAP, MAP + 1, MAP - 1), {"rank": 3, "reduction": "sum"})
)


def test_pairs_are_in_order() -> None:
    a, b, c = (np.full((1, 1, 2), value) for value in (2.0, 3.0, 5.0))
    assert reference.hadamard_pool(a, b, c).tolist() == [[6, 6, 10, 10, 15, 15]]
    assert reference.hadamard_pool(a, b, c, rank=2).tolist() == [[12, 20, 30]]
