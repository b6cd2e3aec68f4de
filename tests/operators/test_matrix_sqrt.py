"""`matrix_sqrt`: the battery, transforms, and errors of published code.

In some published code, the backward pass is not the derivative of the forward pass, or the root of
zero is NaN. The expected values are computed independently of the reference.
"""

from typing import Any

import numpy as np
import pytest

from bilinear import reference
from bilinear.testing import REFERENCE, Case, assert_within, truth
from bilinear.testing.cases import normal
from bilinear.testing.closeness import assert_rounded

from ..subjects import PRESENT, driver
from ..tolerances import COMPLEX_STEP
from .suite import (
    MAP,
    Derivation,
    Transforms,
    check_complex_step,
    parity,
    specification,
)

TestReference = specification("matrix_sqrt")
TestParity = parity("matrix_sqrt")

DEFINITE = np.einsum("nlc,nld->ncd", MAP, MAP)
RANK_TWO = np.einsum("nlc,nld->ncd", MAP[:, :2], MAP[:, :2])


class TestDerivation(Derivation):
    op = "matrix_sqrt"


class TestTransforms(Transforms):
    op = "matrix_sqrt"


@pytest.mark.parametrize(
    ("arrays", "options"),
    [
        ((DEFINITE,), ("newton_schulz", 5, "trace", None)),
        ((RANK_TWO + MAP[:, :3],), ("newton_schulz", 2, "frobenius", None)),
        ((DEFINITE,), ("eigen", 5, "trace", None)),
        ((RANK_TWO,), ("eigen", 5, "trace", None)),
    ],
)
def test_vjp_is_the_complex_step_derivative(arrays: tuple, options: tuple) -> None:
    check_complex_step("matrix_sqrt", arrays, options)


BACKENDS = ["reference", *PRESENT]

every_backend = pytest.mark.parametrize("backend", BACKENDS)

METHODS = [
    {},
    {"normalize": "frobenius"},
    {"method": "eigen"},
]


def driver_of(backend: str) -> Any:
    return REFERENCE if backend == "reference" else driver(backend)


def root(backend: str, a: np.ndarray, **options) -> np.ndarray:
    return driver_of(backend).forward("matrix_sqrt", [a], options)


def slope(backend: str, cotangent: np.ndarray, a: np.ndarray, **options) -> np.ndarray:
    return driver_of(backend).vjp("matrix_sqrt", cotangent, [a], options)[0]


def symmetric_matrix(*eigenvalues: float) -> np.ndarray:
    """Return a batch of one symmetric matrix with these eigenvalues."""
    size = len(eigenvalues)
    u = np.linalg.qr(normal("float64", size, size, seed=9))[0]
    return ((u * np.array(eigenvalues)) @ u.T)[None]


@every_backend
@pytest.mark.parametrize("normalize", ["trace", "frobenius"])
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_the_iteration_applies_to_each_eigenvalue(backend, normalize, steps) -> None:
    """The matrix iteration is a scalar iteration of each eigenvalue."""
    values = np.array([2.0, 1.0, 0.5, 1e-3])
    a = symmetric_matrix(*values)
    s = values.sum() if normalize == "trace" else np.sqrt((values**2).sum())
    y, z = values / s, np.ones(4)
    for _ in range(steps):
        t = (3 - z * y) / 2
        y, z = y * t, t * z
    result = root(backend, a, steps=steps, normalize=normalize)[0]
    expected = np.sqrt(s) * np.sort(y)
    assert_rounded(np.linalg.eigvalsh(result), expected, 40 * steps)


@every_backend
@pytest.mark.parametrize("normalize", ["trace", "frobenius"])
def test_backward_is_the_derivative_of_the_forward_at_five_steps(backend, normalize) -> None:
    """At a condition number of 17, the gradient of the exact root differs by 4% from this one."""
    a, options = symmetric_matrix(17.0, 9.0, 3.0, 1.0), {"steps": 5, "normalize": normalize}
    cotangent = normal("float64", 1, 4, 4, seed=2)
    gradient = slope(backend, cotangent, a, **options)
    formula = reference.matrix_sqrt.__globals__["_matrix_sqrt"]
    expected = np.empty_like(a)
    for index in np.ndindex(a.shape):
        stepped = a.astype(complex)
        stepped[index] += 1e-30j
        moved = formula(stepped, "newton_schulz", 5, normalize, None).imag / 1e-30
        expected[index] = np.sum(cotangent * moved)
    largest = np.abs(expected).max()
    assert np.abs(gradient - expected).max() <= COMPLEX_STEP * largest
    exact = slope(backend, cotangent, a, method="eigen")
    assert np.abs(exact - expected).max() > 1e-3 * largest


@every_backend
@pytest.mark.parametrize("options", METHODS, ids=str)
def test_the_gradient_is_symmetric_for_every_cotangent(backend, options) -> None:
    a, cotangent = symmetric_matrix(3.0, 2.0, 1.0), np.triu(np.ones((1, 3, 3)), 1)
    gradient = slope(backend, cotangent, a, **options)
    assert_rounded(gradient, gradient.swapaxes(1, 2), 200)
    assert_rounded(gradient, slope(backend, cotangent.swapaxes(1, 2), a, **options), 200)


@every_backend
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("options", METHODS, ids=str)
def test_zero_has_root_zero_and_gradient_zero(backend, dtype, options) -> None:
    zero, ones = np.zeros((2, 3, 3), dtype), np.ones((2, 3, 3), dtype)
    assert not root(backend, zero, **options).any()
    assert not slope(backend, ones, zero, **options).any()
    zero[1] = np.eye(3)  # only one sample is 0
    assert not slope(backend, ones, zero, **options)[0].any()


@every_backend
@pytest.mark.parametrize("normalize", ["trace", "frobenius"])
def test_more_steps_converge_to_the_root_by_eigenvectors(backend, normalize) -> None:
    a, cotangent = symmetric_matrix(4.0, 3.0, 2.0, 1.0), normal("float64", 1, 4, 4, seed=2)
    options = {"steps": 10, "normalize": normalize}
    exact = root(backend, a, method="eigen")
    assert_rounded(root(backend, a, **options), exact, 1000)
    assert_rounded(exact @ exact, (a + a.swapaxes(1, 2)) / 2, 1000)
    gradient = slope(backend, cotangent, a, method="eigen")
    assert_rounded(slope(backend, cotangent, a, **options), gradient, 2000)
    sylvester = exact @ gradient + gradient @ exact
    assert_rounded(sylvester, (cotangent + cotangent.swapaxes(1, 2)) / 2, 2000)


@every_backend
def test_tol_is_relative_to_the_largest_eigenvalue(backend) -> None:
    a = np.diag([4.0, 1.0, 2.0**-10])[None]
    for tol, last in ((None, 2.0**-5), (2.0**-13, 2.0**-5), (2.0**-12, 0.0)):
        result = root(backend, a, method="eigen", tol=tol)
        assert_rounded(result, np.diag([2.0, 1.0, last])[None], 8, scale=last or 1.0)


@pytest.mark.parametrize("backend", PRESENT)
def test_larger_and_clustered_matrices(backend) -> None:
    """The eigensolvers of compilers stop early, but the root is as accurate as for others."""
    size, rng = 24, np.random.default_rng(24)
    u = np.linalg.qr(rng.standard_normal((size, size)))[0]
    spectra = rng.integers(0, 3, size) * 1.0, 1 + 10.0 ** -rng.uniform(0, 14, size)
    a = np.stack([(u * values) @ u.T for values in spectra])
    case = Case((a,), {"method": "eigen", "tol": 1e-3})
    for mode in driver(backend).modes:
        result = driver(backend).forward("matrix_sqrt", case.arrays, case.options, mode=mode)
        assert_within(result, truth("matrix_sqrt", case), "float64", f"{backend}, {mode}")
