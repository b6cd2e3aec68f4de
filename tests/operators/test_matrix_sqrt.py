"""`matrix_sqrt`: the common tests, and errors of published code.

In some published code, the backward pass is not the derivative of the forward pass, or the root of
zero is NaN. The expected values are computed independently of the reference.
"""

import numpy as np
import pytest

from bilinear.reference import matrix_sqrt, matrix_sqrt_vjp
from bilinear.testing import Case, assert_within, truth
from bilinear.testing.cases import normal
from bilinear.testing.closeness import assert_rounded

from ..subjects import PRESENT, driver
from .suite import MAP, operator_tests

RANK_TWO = np.einsum("nlc,nld->ncd", MAP[:, :2], MAP[:, :2])

TestReference, TestParity, TestTransforms = operator_tests(
    "matrix_sqrt",
    Case((RANK_TWO + MAP[:, :3],), {"steps": 2, "normalize": "frobenius"}),
    Case((RANK_TWO,), {"method": "eigen"}),
)


def symmetric_matrix(*eigenvalues: float) -> np.ndarray:
    """Return a batch of one symmetric matrix with these eigenvalues."""
    size = len(eigenvalues)
    u = np.linalg.qr(normal("float64", size, size, seed=9))[0]
    return ((u * np.array(eigenvalues)) @ u.T)[None]


@pytest.mark.parametrize("normalize", ["trace", "frobenius"])
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_the_iteration_applies_to_each_eigenvalue(normalize: str, steps: int) -> None:
    """The matrix iteration is a scalar iteration of each eigenvalue."""
    values = np.array([2.0, 1.0, 0.5, 1e-3])
    s = values.sum() if normalize == "trace" else np.sqrt((values**2).sum())
    y, z = values / s, np.ones(4)
    for _ in range(steps):
        t = (3 - z * y) / 2
        y, z = y * t, t * z
    result = matrix_sqrt(symmetric_matrix(*values), steps=steps, normalize=normalize)[0]
    assert_rounded(np.linalg.eigvalsh(result), np.sqrt(s) * np.sort(y), 40 * steps)


@pytest.mark.parametrize("options", [{}, {"normalize": "frobenius"}, {"method": "eigen"}], ids=str)
def test_zero_has_root_zero_and_gradient_zero(options: dict) -> None:
    a = np.stack([np.zeros((3, 3)), np.eye(3)])  # only one sample is 0
    assert not matrix_sqrt(a, **options)[0].any()
    assert not matrix_sqrt_vjp(np.ones((2, 3, 3)), a, **options)[0][0].any()


@pytest.mark.parametrize("normalize", ["trace", "frobenius"])
def test_more_steps_converge_to_the_root_by_eigenvectors(normalize: str) -> None:
    a, cotangent = symmetric_matrix(4.0, 3.0, 2.0, 1.0), normal("float64", 1, 4, 4, seed=2)
    options = {"steps": 10, "normalize": normalize}
    exact = matrix_sqrt(a, method="eigen")
    assert_rounded(matrix_sqrt(a, **options), exact, 1000)
    assert_rounded(exact @ exact, (a + a.swapaxes(1, 2)) / 2, 1000)
    (gradient,) = matrix_sqrt_vjp(cotangent, a, method="eigen")
    assert_rounded(matrix_sqrt_vjp(cotangent, a, **options)[0], gradient, 2000)
    sylvester = exact @ gradient + gradient @ exact
    assert_rounded(sylvester, (cotangent + cotangent.swapaxes(1, 2)) / 2, 2000)


@pytest.mark.parametrize("backend", PRESENT)
def test_tol_is_relative_to_the_largest_eigenvalue(backend: str) -> None:
    a = np.diag([4.0, 1.0, 2.0**-10])[None]
    for tol, last in ((None, 2.0**-5), (2.0**-13, 2.0**-5), (2.0**-12, 0.0)):
        result = driver(backend).forward("matrix_sqrt", [a], {"method": "eigen", "tol": tol})
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
