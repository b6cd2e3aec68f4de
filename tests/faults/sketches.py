"""Faults of compact bilinear pooling."""

import functools
import itertools
from typing import Any

from .operators import FAULTY, fault
from .steps import flat, like, up, without_nan

SKETCH, SIGNS = "tensor_sketch", "random_maclaurin"


def sketch(
    a: Any, ops: Any, f: Any, x: Any, y: Any = None, *, tables, mask=None, reduction="mean", clip
) -> Any:
    """The pooled sketch as one matrix product, with one of two errors in its bins.

    With `clip`, bins beyond dim are the last; else one entry of each bin counts.
    """
    if reduction == "none":
        return f(x, y, tables=tables, mask=mask, reduction=reduction)
    g = flat(a, ops.outer_pool(up(a, x), up(a, y), mask=mask, reduction=reduction))
    first = zip(tables.h1, tables.s1, strict=True)
    second = zip(tables.h2, tables.s2, strict=True)
    unit, rows, used = a.eye(tables.dim, g), [], set()
    for (h1, s1), (h2, s2) in itertools.product(first, second):
        k = int(h1) + int(h2)
        k = min(k, tables.dim - 1) if clip else k % tables.dim
        rows.append((unit[k] * (int(s1) * int(s2) if clip or k not in used else 0))[None])
        used.add(k)
    return like(a, a.matmul(g, a.concat(rows, 0)), x)


FAULTY[SKETCH, "bins beyond dim are the last"] = functools.partial(sketch, clip=True)
FAULTY[SKETCH, "one entry of each bin counts"] = functools.partial(sketch, clip=False)


@fault(SKETCH, "the second hash has no signs")
def _(a, ops, f, x, y=None, *, tables, reduction="mean", **options):
    changed = tables if reduction == "none" else tables._replace(s2=abs(tables.s2))
    return f(x, y, tables=changed, reduction=reduction, **options)


def subtracted(a, ops, f, x, y=None, *, tables, reduction="mean", pooled, **options):
    if pooled == (reduction != "none"):
        tables = tables._replace(h2=(tables.dim - tables.h2) % tables.dim)
    return f(x, y, tables=tables, reduction=reduction, **options)


FAULTY[SKETCH, "hashes are subtracted"] = functools.partial(subtracted, pooled=True)
FAULTY[SKETCH, "a correlation in place of a convolution"] = functools.partial(
    subtracted, pooled=False
)


@fault(SKETCH, "a NaN stays in its bin")
def _(a, ops, f, x, y=None, **options):
    result, rest = f(x, y, **options), f(*without_nan(a, x, y), **options)
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
