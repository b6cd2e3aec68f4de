"""`l2_normalize`: the battery, transforms, and its floor."""

import numpy as np
import pytest

from bilinear import reference

from .suite import (
    MAP,
    Derivation,
    Transforms,
    check_changing_option,
    check_complex_step,
    over_backends,
    parity,
    specification,
)

TestReference = specification("l2_normalize")
TestParity = parity("l2_normalize")


class TestDerivation(Derivation):
    op = "l2_normalize"


class TestTransforms(Transforms):
    op = "l2_normalize"


@pytest.mark.parametrize(
    ("arrays", "options"),
    [
        ((MAP,), (1e-12,)),
        ((MAP,), (1000.0,)),
        ((MAP,), (0.5, "added")),
    ],
)
def test_vjp_is_the_complex_step_derivative(arrays: tuple, options: tuple) -> None:
    check_complex_step("l2_normalize", arrays, options)


def test_the_floor_applies_to_the_norm_not_its_square() -> None:
    z = np.array([[2e-7, 0.0], [0.0, 0.0], [3.0, 4.0]])
    np.testing.assert_array_equal(reference.l2_normalize(z), [[1, 0], [0, 0], [0.6, 0.8]])
    (slope,) = reference.l2_normalize_vjp(np.ones((1, 2)), np.zeros((1, 2)))
    np.testing.assert_array_equal(slope, [[1e12, 1e12]])


@over_backends
def test_a_compiled_function_accepts_several_values_of_eps(backend: str) -> None:
    check_changing_option("l2_normalize", "eps", backend)
