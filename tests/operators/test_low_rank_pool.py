"""`low_rank_pool`: the common tests, and its relation to the outer product."""

import numpy as np

from bilinear import reference
from bilinear.testing import Case
from bilinear.testing.cases import normal
from bilinear.testing.closeness import assert_rounded

from .suite import MAP, operator_tests

TestReference, TestParity, TestTransforms = operator_tests(
    "low_rank_pool", Case((MAP, MAP[0, :3], MAP[1, :3]), {"activation": "sigmoid"})
)


X, Y = normal("float64", 2, 5, 3), normal("float64", 2, 5, 2, seed=1)

MASK = np.array([[True, False, True, True, False], [True] * 5])


def test_a_full_factorisation_equals_the_outer_product() -> None:
    """u selects channel c and v channel d for each pair, in row-major order."""
    c, d = X.shape[2], Y.shape[2]
    u, v = np.kron(np.eye(c), np.ones(d)), np.kron(np.ones(c), np.eye(d))
    result = reference.low_rank_pool(X, u, v, Y, mask=MASK)
    expected = reference.outer_pool(X, Y, mask=MASK).reshape(2, c * d)
    assert_rounded(result, expected, 8)


def test_rank_sums_neighbouring_products() -> None:
    u, v = normal("float64", 3, 6), normal("float64", 3, 6, seed=1)
    result = reference.low_rank_pool(X, u, v, rank=3, reduction="sum")
    for k in range(2):
        form = u[:, 3 * k : 3 * k + 3] @ v[:, 3 * k : 3 * k + 3].T
        expected = np.einsum("nlc,cd,nld->n", X, form, X)
        assert_rounded(result[:, k], expected, 64)


def test_masked_locations_are_left_out_for_every_activation() -> None:
    u, v = normal("float64", 3, 4), normal("float64", 3, 4, seed=1)
    masked = reference.low_rank_pool(X, u, v, activation="sigmoid", mask=MASK)
    dropped = reference.low_rank_pool(X[:1, MASK[0]], u, v, activation="sigmoid")
    assert_rounded(masked[:1], dropped, 16)
