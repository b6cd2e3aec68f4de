"""Faults of the matrix square root, and of the root of a covariance."""

import functools
from typing import Any

from .operators import FAULTY, fault
from .steps import count, like, select, slope, trace, transpose_last, up

MATRIX = "matrix_sqrt"


def iteration(
    a: Any, ops: Any, f: Any, m: Any, *, wrong: str, steps=5, normalize="trace", **options: Any
) -> Any:
    """The iteration ``√s · Y`` with Y from ``m / s``, with an error where the trace is positive."""
    right = f(m, steps=steps, normalize=normalize, **options)
    if options.get("method") == "eigen":
        return right
    wide = up(a, m)
    eye = a.eye(a.shape(m)[-1], wide)
    positive = (trace(a, wide) > 0)[:, None, None]
    wide = a.where(positive, (wide + transpose_last(a, wide)) / 2, eye)
    s = trace(a, wide) if normalize == "trace" else a.sqrt(trace(a, a.matmul(wide, wide)))
    s = (a.stop(s) if wrong == "constant s" else s)[:, None, None]
    y, z = wide / s, eye + 0 * wide
    for _ in range(steps):
        t = (3 * eye - a.matmul(z, y)) / 2
        y, z = a.matmul(y, t), (t if wrong == "order" else a.matmul(t, z))
    result = like(a, y if wrong == "no root" else a.sqrt(s) * y, m)
    return a.where(positive, result, right)


for _name, _wrong in {
    "Y and Z are multiplied in the wrong order": "order",
    "the result lacks √s": "no root",
    "s is a constant to the gradient": "constant s",
}.items():
    FAULTY[MATRIX, _name] = functools.partial(iteration, wrong=_wrong)


@fault(MATRIX, "the antisymmetric part is added to the root")
def _(a, ops, f, m, **options):
    return f(m, **options) + (m - transpose_last(a, m)) / 2


@fault(MATRIX, "one step fewer")
def _(a, ops, f, m, *, steps=5, **options):
    return f(m, steps=max(1, steps - 1), **options)


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


ROOT = "covariance_sqrt"


def on_the_gram_side(
    a: Any,
    ops: Any,
    f: Any,
    x: Any,
    *,
    wrong: str,
    mask=None,
    center=True,
    reduction="mean",
    steps=5,
    normalize="trace",
    **options: Any,
) -> Any:
    """``Xᵀ W X`` with W from the Gram matrix, with an error where its trace is positive."""
    given = {"mask": mask, "center": center, "reduction": reduction, "steps": steps}
    right = f(x, normalize=normalize, **given, **options)
    if options.get("method") == "eigen":
        return right
    wide = up(a, x)
    rows = select(a, wide, mask)
    if center:
        mean = a.sum(rows, 1, keepdims=True) / count(a, wide, mask, "mean")
        rows = select(a, rows - mean, mask)
    g, eye = a.matmul(rows, transpose_last(a, rows)), a.eye(a.shape(x)[1], wide)
    positive = (trace(a, g) > 0)[:, None, None]
    g = a.where(positive, g, eye + 0 * g)
    s = trace(a, g) if normalize == "trace" else a.sqrt(trace(a, a.matmul(g, g)))
    s = (a.stop(s) if wrong == "constant s" else s)[:, None, None]
    y, z = g / s, eye + 0 * g
    for _ in range(steps):
        t = (3 * eye - a.matmul(z, y)) / 2
        y, z = a.matmul(y, t), a.matmul(t, z)
    total = count(a, wide, mask, reduction)
    weights = z / (a.sqrt(s) * (total if wrong == "no root of Z" else total**0.5))
    weights = a.stop(weights) if wrong == "constant weights" else weights
    result = a.matmul(transpose_last(a, rows), a.matmul(weights, rows))
    return a.where(positive, like(a, result, x), right)


for _name, _wrong in {
    "the inverse root of the Gram matrix is a constant to the gradient": "constant weights",
    "s is a constant to the gradient": "constant s",
    "the root of the sum is divided by Z, not by √Z": "no root of Z",
}.items():
    FAULTY[ROOT, _name] = functools.partial(on_the_gram_side, wrong=_wrong)


@fault(ROOT, "the features are always centered")
def _(a, ops, f, x, *, center=True, **options):
    return f(x, center=True, **options)


@fault(ROOT, "the features are never centered")
def _(a, ops, f, x, *, center=True, **options):
    return f(x, center=False, **options)


@fault(ROOT, "masked locations are centered too")
def _(a, ops, f, x, *, mask=None, center=True, reduction="mean", **options):
    right = f(x, mask=mask, center=center, reduction=reduction, **options)
    if mask is None or not center:
        return right
    wide = up(a, x)
    rows = select(a, wide, mask)
    mean = a.sum(rows, 1, keepdims=True) / count(a, wide, mask, "mean")
    total = f(rows - mean, center=False, reduction="sum", **options)
    return like(a, total / count(a, wide, mask, reduction) ** 0.5, x)


@fault(ROOT, "zero is divided by zero")
def _(a, ops, f, x, **options):
    total = a.sum(a.sum(a.abs(a.stop(x)), -1), -1)[:, None, None]
    return f(x, **options) + like(a, a.where(total == 0, float("nan"), 0.0 * total), x)


@fault(ROOT, "eigenvalues that count as 0 have no gradient")
def _(a, ops, f, x, *, mask=None, center=True, method="newton_schulz", tol=None, **options):
    given = {"mask": mask, "center": center, "method": method, "tol": tol, **options}
    if method != "eigen" or tol is None or center or mask is not None or 0 in a.shape(x):
        return f(x, **given)
    wide = a.stop(up(a, x))
    values, vectors = eigen_root(a, a.matmul(wide, transpose_last(a, wide)))
    live = a.where(values > tol * a.max(values, -1)[:, None], 1 + 0 * values, 0.0)
    projection = a.matmul(vectors * live[:, None], transpose_last(a, vectors))
    return like(a, f(a.matmul(projection, up(a, x)), **given), x)
