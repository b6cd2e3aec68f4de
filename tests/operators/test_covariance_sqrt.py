"""`covariance_sqrt`: the common tests, and both sides of the features.

The expected values of these tests are computed independently of the reference.
"""

import numpy as np
import pytest

from bilinear.reference import (
    covariance_pool,
    covariance_sqrt,
    covariance_sqrt_vjp,
    matrix_sqrt,
    outer_pool,
)
from bilinear.testing import Case, assert_within, truth, vjp_truth
from bilinear.testing.cases import normal
from bilinear.testing.closeness import assert_rounded

from ..subjects import PRESENT, driver
from .suite import MAP, VALID, operator_tests

TestReference, TestParity, TestTransforms = operator_tests(
    "covariance_sqrt",
    Case((MAP,), {"mask": VALID, "steps": 2}),
    Case((MAP.swapaxes(1, 2),), {"center": False, "method": "eigen", "tol": 2.0**-10}),
)


@pytest.mark.parametrize("options", [{}, {"normalize": "frobenius", "steps": 3}], ids=str)
def test_it_is_the_root_of_the_covariance(options: dict) -> None:
    """The root of the pooled matrix, which `reduction` multiplies by √Z."""
    for x in (MAP, MAP.swapaxes(1, 2)):
        centred = covariance_sqrt(x, **options)
        assert_rounded(centred, matrix_sqrt(covariance_pool(x), **options), 40)
        plain = covariance_sqrt(x, center=False, **options)
        assert_rounded(plain, matrix_sqrt(outer_pool(x), **options), 40)
        total = covariance_sqrt(x, reduction="sum", **options)
        assert_rounded(total, centred * x.shape[1] ** 0.5, 40)


@pytest.mark.parametrize("options", [{"steps": 3}, {"method": "eigen"}], ids=str)
def test_the_root_and_its_gradient_by_singular_values(options: dict) -> None:
    """For ``B = U diag(σ) Vᵀ``, the root is ``V diag(f(σ)) Vᵀ``; its slope by differences."""
    x = normal("float64", 1, 3, 5, seed=3)

    def root(x: np.ndarray) -> np.ndarray:
        _, values, v = np.linalg.svd((x - x.mean(1, keepdims=True)) / 3**0.5)
        squares = values**2 / (values**2).sum(1, keepdims=True)
        y, z = squares, np.ones_like(squares)
        for _ in range(options.get("steps", 0)):
            t = (3 - z * y) / 2
            y, z = y * t, t * z
        roots = values if "method" in options else y * np.linalg.norm(values, axis=1)[:, None]
        return np.einsum("nkc,nk,nkd->ncd", v[:, :3], roots, v[:, :3])

    assert_rounded(covariance_sqrt(x, **options), root(x), 100)
    cotangent, step = normal("float64", 1, 5, 5, seed=4), 1e-5
    (gradient,) = covariance_sqrt_vjp(cotangent, x, **options)
    for index in np.ndindex(x.shape):
        moved = np.zeros_like(x)
        moved[index] = step
        slope = np.sum(cotangent * (root(x + moved) - root(x - moved))) / (2 * step)
        assert abs(gradient[index] - slope) <= 1e-8 * np.abs(gradient).max(), index


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("options", [{}, {"method": "eigen", "tol": 1e-6}], ids=str)
@pytest.mark.parametrize("backend", PRESENT)
def test_both_sides_of_the_cost_rule(backend: str, options: dict, center: bool) -> None:
    """With 7, 8 and 9 locations of 8 channels, a backend changes its side."""
    for locations in (2, 7, 8, 9):
        case = Case((normal("float64", 1, locations, 8),), {"center": center, **options})
        result = driver(backend).forward("covariance_sqrt", case.arrays, case.options)
        what = f"{backend}, {locations} locations"
        assert_within(result, truth("covariance_sqrt", case), "float64", what)
        cotangent = normal("float64", *result.shape, seed=1)
        gradients = driver(backend).vjp("covariance_sqrt", cotangent, case.arrays, case.options)
        for gradient, bounded in zip(
            gradients, vjp_truth("covariance_sqrt", case, cotangent), strict=True
        ):
            assert_within(gradient, bounded, "float64", f"{what}, gradient")
