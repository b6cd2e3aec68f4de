"""At the border of float32's range: all products, sums and squared norms are finite and normal."""

import numpy as np
import pytest

from bilinear.testing.closeness import assert_rounded

from ..subjects import PRESENT, driver


@pytest.mark.parametrize("packed", [False, True], ids=["full", "packed"])
@pytest.mark.parametrize("backend", PRESENT)
def test_bilinear_pool_where_twice_the_sum_overflows(backend: str, packed: bool) -> None:
    """``2 n² Z`` does, which a gradient may not meet on its way: it would be 0.

    For x = (a, b) at one location of four all entries of G are positive, u = x xᵀ's root is
    (a, √(ab), √(ab), b) / (a + b), and with γ = (1, 0, 0, 0) the slope of a / (a + b) is left.
    """
    a, b = 1.3e19, 1e18
    x = np.zeros((1, 4, 2), np.float32)
    x[0, 0] = a, b
    cotangent = np.zeros((1, 3 if packed else 4), np.float32)
    cotangent[0, 0] = 1e5
    (found,) = driver(backend).vjp("bilinear_pool", cotangent, (x,), {"packed": packed})
    expected = 1e5 * np.array([b, -a]) / (a + b) ** 2
    assert_rounded(found[0, 0], expected, 64)
    assert not found[0, 1:].any()
