"""Error bounds of the matrix square root by eigendecomposition, and of its gradient.

Eigensolvers are backward stable: their result is exact for S + E with ``‖E‖ <= δ``,
``δ = p u ‖S‖_F`` and a moderate p (Anderson et al., LAPACK Users' Guide, 3rd ed., section 4.7).
δ is larger if S is inexact, and 0 for diagonal matrices. To first order, E changes the root by
``U [(Uᵀ E U) ∘ K] Uᵀ``, at most δ times the largest K, which is 1/√λ of the smallest eigenvalue
above the threshold. The gradient X, which solves ``R X + X R = Γ``, changes accordingly by
``dR X + X dR``, and by as much again because the subspace changes: 4 δ K³ ‖Γ‖ in total.

This holds if all eigenvalues are farther than δ from the threshold below which they count as 0.
Otherwise the bound of the gradient is infinite, and that of the root is
``‖√P − √Q‖ <= √‖P − Q‖`` for semidefinite P and Q (Bhatia, Matrix Analysis, theorem X.1.1), where P
and Q each omit at most the eigenvalues below the threshold plus δ.
"""

from typing import NamedTuple

import numpy as np

from .bounds import Bounded, gamma
from .tolerances import FACTOR_ROUNDOFF, UNIT_ROUNDOFF

BACKWARD = 8
"""p divided by the number of channels."""


class _Decomposition(NamedTuple):
    u: np.ndarray
    roots: np.ndarray
    k: np.ndarray
    steepest: np.ndarray
    delta: np.ndarray
    above: np.ndarray
    sure: np.ndarray
    nan: np.ndarray
    lost: np.ndarray


def root(a: Bounded, tol: float | None, acc: str) -> Bounded:
    """The root of matrices (N, C, C)."""
    f = _decompose(a, tol, acc)
    value = _product(f.u, f.roots[:, None, :] * np.eye(f.u.shape[-1]))
    spread = _product(np.abs(f.u), f.roots[:, None, :] * np.eye(f.u.shape[-1]))
    largest = f.roots.max(1)[:, None, None]
    with np.errstate(invalid="ignore"):
        first_order = np.where(f.delta * f.steepest**2 <= 0.25, f.delta * f.steepest, np.inf)
        always = np.sqrt(2 * f.above + 2 * f.delta)
        carried = np.where(f.sure, np.minimum(first_order, always), always)
    error = carried + 2 * f.lost * largest + _factor(4 * a.value.shape[-1] + 12, acc) * spread
    return _bounded(value, error, f.nan)


def root_vjp(cotangent: Bounded, a: Bounded, tol: float | None, acc: str) -> Bounded:
    """The gradient for a cotangent."""
    f, ct = _decompose(a, tol, acc), _symmetric(cotangent.value.astype(np.float64))
    inexact = np.sqrt(np.sum(cotangent.error**2, axis=(1, 2), keepdims=True))
    with np.errstate(invalid="ignore"):
        value = _product(f.u, _product(_t(f.u), ct) * f.k)
        spread = _product(np.abs(f.u), _product(np.abs(_t(f.u)), np.abs(ct)) * f.k)
        size = np.sqrt(np.sum(ct * ct, axis=(1, 2), keepdims=True))
        near = f.sure & (f.delta * f.steepest**2 <= 0.125)
        carried = np.where(near, 4 * f.delta * f.steepest**3 * size, np.inf)
        carried += (4 * f.lost * size + inexact) * f.steepest
        error = carried + _factor(12 * a.value.shape[-1] + 28, acc) * spread
    return _bounded(value, error, f.nan)


def _decompose(given: Bounded, tol: float | None, acc: str) -> _Decomposition:
    a = _symmetric(given.value.astype(np.float64))
    inexact = np.sqrt(np.sum(given.error.astype(np.float64) ** 2, axis=(1, 2)))[:, None]
    nan = np.asarray(np.isnan(a).any((1, 2), keepdims=True))
    a = np.where(nan, 0, a)
    channels = a.shape[-1]
    values, vectors = np.linalg.eigh(a)
    largest = np.maximum(values.max(1, initial=0), 0)[:, None]
    moved = ~(a == a * np.eye(channels)).all((1, 2))[:, None]
    size = np.sqrt(np.sum(a * a, axis=(1, 2)))[:, None] * moved
    units = UNIT_ROUNDOFF[acc], UNIT_ROUNDOFF["float64"]  # of the backend and of the reference
    polish = FACTOR_ROUNDOFF.get(acc, 0.0)  # products improve the eigenvectors
    delta = BACKWARD * channels * (units[0] + polish) * size + inexact
    fine = BACKWARD * channels * units[1] * size + inexact
    floor, low = ((channels * unit if tol is None else tol) * largest for unit in units)
    positive = values > floor + delta
    zero = (values + delta <= floor) & (values + fine <= low)
    sure = (positive | zero).all(1)[:, None, None]
    roots = np.where(positive | ~zero & (values > low), np.sqrt(np.maximum(values, 0)), 0)
    sums = roots[:, :, None] + roots[:, None, :]
    k = np.where(sums > 0, 1 / np.where(sums > 0, sums, 1), 0)
    lost = BACKWARD * channels * (units[0] + polish) * moved[:, :, None]
    above = np.where(sure, 0, (floor + delta)[:, :, None])
    steepest = k.max((1, 2), initial=0)[:, None, None]
    return _Decomposition(
        vectors, roots, k, steepest, delta[:, :, None], above, sure, np.asarray(nan), lost
    )


def _bounded(value: np.ndarray, error: np.ndarray, nan: np.ndarray) -> Bounded:
    value = np.where(nan, np.nan, value).astype(np.longdouble)
    return Bounded(value, np.broadcast_to(error, value.shape).astype(np.longdouble))


def _factor(n: int, acc: str) -> float:
    return gamma(n, acc) + 8 * FACTOR_ROUNDOFF.get(acc, 0.0)


def _product(u: np.ndarray, m: np.ndarray) -> np.ndarray:
    return u @ m @ _t(u)


def _symmetric(a: np.ndarray) -> np.ndarray:
    return (a + _t(a)) / 2


def _t(a: np.ndarray) -> np.ndarray:
    return a.swapaxes(1, 2)
