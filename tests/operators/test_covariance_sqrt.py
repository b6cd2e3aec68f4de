"""`covariance_sqrt`: the common tests, and both sides of the features.

The expected values of these tests are computed independently of the reference.
"""

import numpy as np
import pytest

from bilinear.backends.gram_side import use_gram_matrix
from bilinear.reference import (
    covariance_pool,
    covariance_sqrt,
    covariance_sqrt_vjp,
    matrix_sqrt,
    outer_pool,
)
from bilinear.testing import Case, check_against_reference
from bilinear.testing.cases import normal
from bilinear.testing.closeness import assert_rounded

from ..subjects import PRESENT, kit_driver
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
        centered = covariance_sqrt(x, **options)
        assert_rounded(centered, matrix_sqrt(covariance_pool(x), **options), 40)
        plain = covariance_sqrt(x, center=False, **options)
        assert_rounded(plain, matrix_sqrt(outer_pool(x), **options), 40)
        total = covariance_sqrt(x, reduction="sum", **options)
        assert_rounded(total, centered * x.shape[1] ** 0.5, 40)


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


def test_the_side_with_fewer_multiplications_is_used() -> None:
    """5 steps are 12 products; on the Gram matrix, they are 12 L³ + 2 L² C multiplications."""
    assert use_gram_matrix(242, 256, "newton_schulz", 5)
    assert not use_gram_matrix(243, 256, "newton_schulz", 5)
    assert use_gram_matrix(158, 256, "newton_schulz", 1)
    assert not use_gram_matrix(159, 256, "newton_schulz", 1)
    assert use_gram_matrix(255, 256, "eigen", 5)
    assert not use_gram_matrix(256, 256, "eigen", 5)
    assert not use_gram_matrix(None, 256, "eigen", 5)


@pytest.mark.parametrize("options", [{}, {"method": "eigen", "tol": 1e-6}], ids=str)
@pytest.mark.parametrize("backend", PRESENT)
def test_both_sides_of_square_features(backend: str, options: dict) -> None:
    for locations in (3, 4, 5):
        case = Case((normal("float64", 1, locations, 4),), {"center": False, **options})
        cotangent = normal("float64", 1, 4, 4, seed=1)
        what = f"{locations} locations"
        check_against_reference(kit_driver(backend), "covariance_sqrt", case, cotangent, label=what)
