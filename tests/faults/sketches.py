"""Faults of compact bilinear pooling."""

import itertools
from collections.abc import Callable
from typing import Any

from .operators import FAULTY, fault
from .steps import flat, like, up, without_gradient

SKETCH, SIGNS = "tensor_sketch", "random_maclaurin"


def sketch(a: Any, ops: Any, x: Any, y: Any, tables: Any, mask: Any, reduction: str, bins) -> Any:
    """The pooled sketch with bins and signs by ``bins(h1 + h2, signs, dim)``, by one product."""
    g = flat(a, ops.outer_pool(up(a, x), up(a, y), mask=mask, reduction=reduction))
    one, two = ([int(v) for v in h] for h in (tables.h1, tables.h2))
    first, second = ([int(v) for v in s] for s in (tables.s1, tables.s2))
    pairs = list(itertools.product(range(len(one)), range(len(two))))
    unit, dim = a.eye(tables.dim, g), tables.dim
    rows, used = [], set()
    for c, d in pairs:
        k, sign = bins(one[c], two[d], first[c], second[d], dim, used)
        rows.append((unit[k % dim] * sign)[None])
    return like(a, a.matmul(g, a.concat(rows, 0)), x)


def of_bins(name: str):
    """A fault of the pooled sketch: (h1, h2, s1, s2, dim, used bins) -> bin, sign."""

    def enter(function: Callable[..., Any]) -> Callable[..., Any]:
        def faulty(a, ops, f, x, y=None, *, tables, mask=None, reduction="mean"):
            if reduction == "none":
                return f(x, y, tables=tables, mask=mask, reduction=reduction)
            return sketch(a, ops, x, y, tables, mask, reduction, function)

        FAULTY[SKETCH, name] = faulty
        return function

    return enter


@of_bins("the second hash has no signs")
def _(h1, h2, s1, s2, dim, used):
    return h1 + h2, s1


@of_bins("hashes are subtracted")
def _(h1, h2, s1, s2, dim, used):
    return h1 - h2, s1 * s2


@of_bins("bins beyond dim are the last")
def _(h1, h2, s1, s2, dim, used):
    return min(h1 + h2, dim - 1), s1 * s2


@of_bins("one entry of each bin counts")
def _(h1, h2, s1, s2, dim, used):
    k = (h1 + h2) % dim
    sign = 0 if k in used else s1 * s2
    used.add(k)
    return k, sign


@fault(SKETCH, "a correlation in place of a convolution")
def _(a, ops, f, x, y=None, *, tables, reduction="mean", **options):
    if reduction == "none":
        tables = tables._replace(h2=(tables.dim - tables.h2) % tables.dim)
    return f(x, y, tables=tables, reduction=reduction, **options)


@fault(SKETCH, "a NaN stays in its bin")
def _(a, ops, f, x, y=None, **options):
    result = f(x, y, **options)
    clean = [None if s is None else a.where(a.isnan(s), a.zeros_like(s), s) for s in (x, y)]
    rest = f(*clean, **options)
    return a.concat([result[..., :1], rest[..., 1:]], len(a.shape(result)) - 1)


@fault(SIGNS, "1/√dim is missing")
def _(a, ops, f, x, y=None, *, tables, **options):
    return f(x, y, tables=tables, **options) * tables.w1.shape[1] ** 0.5


@fault(SIGNS, "both streams have the first table")
def _(a, ops, f, x, y=None, *, tables, **options):
    same = tables.w1.shape == tables.w2.shape
    return f(x, y, tables=tables._replace(w2=tables.w1) if same else tables, **options)


@fault(SIGNS, "the sum is a mean")
def _(a, ops, f, x, y=None, *, reduction="mean", **options):
    return f(x, y, reduction="mean" if reduction == "sum" else reduction, **options)


@fault(SIGNS, "the gradient of a second stream is lost")
def _(a, ops, f, x, y=None, **options):
    return f(x, None if y is None else without_gradient(a, y), **options)
