"""`signed_sqrt`: the common tests, and its values and derivatives at zero."""

import numpy as np
import pytest

from bilinear import reference
from bilinear.testing import Case
from bilinear.testing.closeness import assert_rounded

from ..agreement import assert_derivative
from ..subjects import driver
from .suite import MAP, operator_tests, over

TestReference, TestParity, TestTransforms = operator_tests(
    "signed_sqrt", Case((MAP,), {"eps": 0.0}), Case((MAP,), {"root": "shifted", "eps": 1e-5})
)


def test_values_and_gradients_at_and_near_zero() -> None:
    g = np.array([0.0, -0.0, 1e-300, -1e-300, 4.0, -4.0])
    beside, far = 1e-5, np.sqrt(4 + 1e-10)  # in float64, 1e-300 + 1e-10 is 1e-10
    roots = reference.signed_sqrt(g, eps=1e-10)
    assert_rounded(roots, [0, 0, beside, -beside, far, -far], 2)
    assert roots[:2].tolist() == [0, 0]
    assert roots[2] == -roots[3] != 0
    (slope,) = reference.signed_sqrt_vjp(np.ones(6), g, eps=1e-10)
    assert slope[:2].tolist() == [0, 0]
    assert_rounded(slope[2:4], 5e4, 4)
    assert_rounded(slope[4:], 0.5 / far, 4)
    (slope,) = reference.signed_sqrt_vjp(np.ones(2), np.array([0.0, 4.0]), eps=0.0)
    assert slope.tolist() == [0.0, 0.25]


@over("hvps")
@pytest.mark.parametrize("eps", [0.0, 1e-10])
def test_every_derivative_is_zero_at_exactly_zero(backend: str, transform: str, eps: float) -> None:
    g = np.array([0.0, -0.0, 1.0])
    ones = np.ones(3)
    apply = driver(backend).hvps[transform]
    (second,) = driver(backend).call(apply, "signed_sqrt", {"eps": eps}, [g], [ones], ones)
    assert second[0] == 0
    assert second[1] == 0
    assert_derivative(second[2:], np.array([-0.25 * (1 + eps) ** -1.5]), "beside zero")
