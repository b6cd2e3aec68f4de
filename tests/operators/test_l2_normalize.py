"""`l2_normalize`: the common tests, and its floor."""

import numpy as np

from bilinear import reference

from ..subjects import over_backends
from .suite import check_changing_option, operator_tests

TestReference, TestParity, TestTransforms = operator_tests("l2_normalize")


def test_the_floor_applies_to_the_norm_not_its_square() -> None:
    z = np.array([[2e-7, 0.0], [0.0, 0.0], [3.0, 4.0]])
    np.testing.assert_array_equal(reference.l2_normalize(z), [[1, 0], [0, 0], [0.6, 0.8]])
    (slope,) = reference.l2_normalize_vjp(np.ones((1, 2)), np.zeros((1, 2)))
    np.testing.assert_array_equal(slope, [[1e12, 1e12]])


@over_backends
def test_a_compiled_function_accepts_several_values_of_eps(backend: str) -> None:
    check_changing_option("l2_normalize", "eps", backend)
