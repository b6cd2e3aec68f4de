"""Derivatives to the third order of the roots by eigenvectors.

For ``x = W S V Q`` with orthonormal columns of W and rows of V, a positive definite S and an
orthogonal Q, the root of ``xᵀ x`` is ``Qᵀ Vᵀ S V Q``. Here ``S = S0 + t S1`` and ``Q = exp(t A)``.
With ``M = Vᵀ S V``, the derivative of ``Qᵀ M Q`` is ``Qᵀ (M A − A M + M′) Q``.
"""

import math
from typing import Any

import numpy as np
import pytest

from bilinear.testing.cases import normal

from ..agreement import assert_derivative
from ..subjects import driver, over_backends

CHANNELS, ORDERS = 5, 3


def series(locations: int, center: bool) -> tuple[list[Any], list[Any]]:
    """The coefficients of x, scaled by √L, and of its root."""
    rank = min(locations - center, CHANNELS)
    start = np.ones((locations, 1)) if center else np.ones((locations, 0))
    random = normal("float64", locations, rank)
    w = np.linalg.qr(np.hstack([start, random]))[0][:, start.shape[1] :]
    v = np.linalg.qr(normal("float64", CHANNELS, rank, seed=1))[0].T
    s0, s1, a = (normal("float64", k, k, seed=k) for k in (rank, rank, CHANNELS))
    s0, s1, a = s0 @ s0.T + np.eye(rank), s1 + s1.T, a - a.T
    q = [np.linalg.matrix_power(a, k) / math.factorial(k) for k in range(ORDERS + 1)]
    x = [s0 @ v @ q[0]] + [s0 @ v @ q[k] + s1 @ v @ q[k - 1] for k in range(1, ORDERS + 1)]
    root, m = [v.T @ s0 @ v], [v.T @ s0 @ v, v.T @ s1 @ v]
    for k in range(1, ORDERS + 1):
        m = [m[0] @ a - a @ m[0] + m[1], m[1] @ a - a @ m[1]]
        root.append(m[0] / math.factorial(k))
    return [(w @ term * locations**0.5)[None] for term in x], [term[None] for term in root]


@over_backends
@pytest.mark.parametrize(
    ("op", "locations", "center"),
    [
        ("matrix_sqrt", CHANNELS, False),
        ("covariance_sqrt", 3, True),
        ("covariance_sqrt", 4, False),
        ("covariance_sqrt", CHANNELS, False),
        ("covariance_sqrt", 7, True),
    ],
)
def test_derivatives_to_the_third_order(
    op: str, locations: int, center: bool, backend: str
) -> None:
    terms, root = series(locations, center)
    options: dict[str, Any] = {"method": "eigen"}
    if op == "matrix_sqrt":
        terms = [sum(root[i] @ root[k - i] for i in range(k + 1)) for k in range(ORDERS + 1)]
    else:
        options["center"] = center
    cotangent = normal("float64", 1, CHANNELS, CHANNELS, seed=2)
    push, second = (
        next(iter(kind.values())) for kind in (driver(backend).jvps, driver(backend).hvps)
    )

    def derivatives(function, terms, zero, one, cotangent):
        def along(t):
            return function(terms[0] + t * (terms[1] + t * (terms[2] + t * terms[3])))

        def slope(t):
            return push(along, [t], [one])

        given = [zero], [one], cotangent
        return [*second(along, *given), *second(slope, *given)]

    zero = np.zeros((1, 1, 1))
    found = driver(backend).call(derivatives, op, options, terms, zero, zero + 1, cotangent)
    for order, value in enumerate(found, 2):
        expected = np.sum(cotangent * root[order], keepdims=True) * math.factorial(order)
        assert_derivative(value, expected, f"{op}, {backend}, order {order}")
