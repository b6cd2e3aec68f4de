"""Faults of the matrix square root."""

from collections.abc import Callable
from typing import Any

from .operators import FAULTY, fault
from .steps import like, slope, transpose_last, up

MATRIX = "matrix_sqrt"


def newton_schulz(a: Any, m: Any, step_count: int, scale: Any, wrong_order: bool = False) -> Any:
    """The iteration on symmetric matrices: ``√s · Y`` with Y from ``m / s``."""
    m = (m + transpose_last(a, m)) / 2
    eye = a.eye(a.shape(m)[-1], m)
    y, z = m / scale, eye + 0 * m
    for _ in range(step_count):
        t = (3 * eye - a.matmul(z, y)) / 2
        y, z = a.matmul(y, t), (t if wrong_order else a.matmul(t, z))
    return a.sqrt(scale) * y


def scale_of(a: Any, m: Any, normalize_by: str) -> Any:
    eye = a.eye(a.shape(m)[-1], m)
    if normalize_by == "trace":
        s = a.sum(a.sum(m * eye, -1), -1)[:, None, None]
    else:
        square = a.sum(a.sum(m * m, -1), -1)[:, None, None]
        s = a.sqrt(a.where(square == 0, 1.0, square))
    return a.where(a.stop(s) <= 0, 1.0, s)


def of_iteration(name: str):
    """A fault of the iteration, for matrices of positive trace."""

    def enter(function: Callable[..., Any]) -> Callable[..., Any]:
        def faulty(a, ops, f, m, *, method="newton_schulz", steps=5, normalize="trace", tol=None):
            if method == "eigen":
                return f(m, method=method, steps=steps, normalize=normalize, tol=tol)
            right = f(m, steps=steps, normalize=normalize)
            wide = up(a, m)
            wrong = function(a, wide, steps, normalize)
            positive = a.sum(a.sum(wide * a.eye(a.shape(m)[-1], wide), -1), -1) > 0
            return a.where(positive[:, None, None], like(a, wrong, m), right)

        FAULTY[MATRIX, name] = faulty
        return function

    return enter


@fault(MATRIX, "the antisymmetric part is added to the root")
def _(a, ops, f, m, **options):
    return f(m, **options) + (m - transpose_last(a, m)) / 2


@fault(MATRIX, "one step fewer")
def _(a, ops, f, m, *, steps=5, **options):
    return f(m, steps=max(1, steps - 1), **options)


@of_iteration("Y and Z are multiplied in the wrong order")
def _(a, m, step_count, normalize_by):
    return newton_schulz(a, m, step_count, scale_of(a, m, normalize_by), wrong_order=True)


@of_iteration("the result lacks √s")
def _(a, m, step_count, normalize_by):
    s = scale_of(a, m, normalize_by)
    return newton_schulz(a, m, step_count, s) / a.sqrt(s)


@of_iteration("s is a constant to the gradient")
def _(a, m, step_count, normalize_by):
    return newton_schulz(a, m, step_count, a.stop(scale_of(a, m, normalize_by)))


@fault(MATRIX, "zero is divided by zero")
def _(a, ops, f, m, **options):
    total = a.sum(a.sum(a.abs(a.stop(m)), -1), -1)[:, None, None]
    return f(m, **options) + like(a, a.where(total == 0, float("nan"), 0.0 * total), m)


def eigen_root(a: Any, m: Any) -> tuple[Any, Any]:
    symmetric = (m + transpose_last(a, m)) / 2
    values, vectors = a.eigh(a.where(a.isnan(symmetric), 0.0, symmetric))
    return a.where(values > 0, values, 0.0), vectors


@fault(MATRIX, "the slope between equal eigenvalues is 0")
def _(a, ops, f, m, *, method="newton_schulz", **options):
    right = f(m, method=method, **options)
    if method != "eigen" or 0 in a.shape(m):
        return right
    wide = up(a, m)
    values, vectors = (a.stop(v) for v in eigen_root(a, wide))
    near = a.abs(values[:, :, None] - values[:, None, :]) < 1e-9 * (1 + values[:, :, None])
    off = 1 - a.eye(a.shape(m)[-1], wide)
    inner = a.matmul(transpose_last(a, vectors), a.matmul(slope(a, wide), vectors))
    lost = a.where(near, inner * off, 0.0)
    return right - like(a, a.matmul(vectors, a.matmul(lost, transpose_last(a, vectors))), m)


@fault(MATRIX, "tol is a value, not a fraction of the largest eigenvalue")
def _(a, ops, f, m, *, method="newton_schulz", tol=None, **options):
    right = f(m, method=method, tol=tol, **options)
    if method != "eigen" or tol is None or 0 in a.shape(m):
        return right
    values, vectors = (a.stop(v) for v in eigen_root(a, up(a, m)))
    roots = a.sqrt(a.where(values > tol, values, 0.0))
    wrong = a.matmul(vectors * roots[:, None, :], transpose_last(a, vectors))
    return right + like(a, a.stop(wrong) - a.stop(up(a, right)), m)


@fault(MATRIX, "the second derivative has an additional term")
def _(a, ops, f, m, **options):
    return f(m, **options) + slope(a, m) * slope(a, m)
