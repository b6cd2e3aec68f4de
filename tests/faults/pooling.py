"""Faults of pooled matrices and of their packed form."""

import functools
import operator

from .arrays import HALF_PRECISION
from .operators import fault
from .steps import count, diagonal, like, select, slope, transpose_last, up

POOL = "outer_pool"


@fault(POOL, "the gradient of one stream is 2 Γ X")
def _(a, ops, f, x, y=None, **options):
    still = a.stop(x)
    return f(2 * x - still, still, **options) if y is None else f(x, y, **options)


@fault(POOL, "the gradient of one stream is Γ X")
def _(a, ops, f, x, y=None, **options):
    return f(x, a.stop(x) if y is None else y, **options)


@fault(POOL, "1/L is missing")
def _(a, ops, f, x, y=None, **options):
    unmasked = options.get("mask") is None
    return f(x, y, **options | ({"reduction": "sum"} if unmasked else {}))


@fault(POOL, "masked locations are counted")
def _(a, ops, f, x, y=None, *, mask=None, reduction="mean"):
    if mask is None or reduction == "sum":
        return f(x, y, mask=mask, reduction=reduction)
    total = f(up(a, x), up(a, y), mask=mask, reduction="sum")
    return like(a, total / a.shape(x)[1], x)


@fault(POOL, "the mask multiplies")
def _(a, ops, f, x, y=None, *, mask=None, reduction="mean"):
    if mask is None:
        return f(x, y, reduction=reduction)
    weights = a.cast(mask, a.dtype(up(a, x)))[:, :, None]
    z = count(a, up(a, x), mask, reduction)
    second = None if y is None else up(a, y) * weights
    return like(a, f(up(a, x) * weights, second, reduction="sum") / z, x)


@fault(POOL, "the gradient ignores the mask")
def _(a, ops, f, x, y=None, *, mask=None, reduction="mean"):
    if mask is None:
        return f(x, y, reduction=reduction)
    z = count(a, up(a, x), mask, reduction)
    wide = [None if s is None else up(a, s) for s in (x, y)]
    seen = [None if s is None else a.where(mask[:, :, None], s, slope(a, s)) for s in wide]
    return like(a, f(*seen, reduction="sum") / z, x)


@fault(POOL, "sum and mean are exchanged")
def _(a, ops, f, x, y=None, *, reduction="mean", **options):
    return f(x, y, reduction="sum" if reduction == "mean" else "mean", **options)


@fault(POOL, "half precision is rounded before the division")
def _(a, ops, f, x, y=None, *, mask=None, reduction="mean"):
    if a.dtype(x) not in HALF_PRECISION or reduction == "sum" or mask is not None:
        return f(x, y, mask=mask, reduction=reduction)
    return f(x, y, reduction="sum") / a.shape(x)[1]


@fault(POOL, "the sum over locations is rounded to half precision at each location")
def _(a, ops, f, x, y=None, *, mask=None, reduction="mean"):
    locations = a.shape(x)[1]
    if a.dtype(x) not in HALF_PRECISION or reduction == "mean" or mask is not None or not locations:
        return f(x, y, mask=mask, reduction=reduction)
    streams = [x, x if y is None else y]
    one = ([s[:, i : i + 1] for s in streams] for i in range(locations))
    return functools.reduce(operator.add, [f(*pair, reduction="sum") for pair in one])


HALF = "half_vectorize"


@fault(HALF, "the lower triangle is read")
def _(a, ops, f, g, **options):
    return f(transpose_last(a, g), **options)


@fault(HALF, "2 in place of √2")
def _(a, ops, f, g, *, isometric=True):
    wide = up(a, g)
    result = f(wide, isometric=isometric)
    on = diagonal(a, a.shape(g)[-1], wide)
    return like(a, result * (on + (1 - on) * (2**0.5 if isometric else 1.0)), g)


@fault(HALF, "√2 on the diagonal")
def _(a, ops, f, g, *, isometric=True):
    wide = up(a, g)
    on = diagonal(a, a.shape(g)[-1], wide)
    weights = 1 - on + on * 2**0.5 if isometric else 1.0
    return like(a, f(wide, isometric=isometric) * weights, g)


COVARIANCE = "covariance_pool"


@fault(COVARIANCE, "nothing is centered")
def _(a, ops, f, x, y=None, *, mask=None):
    return ops.outer_pool(x, y, mask=mask)


@fault(COVARIANCE, "the covariance is divided by Z − 1")
def _(a, ops, f, x, y=None, *, mask=None):
    wide = up(a, x)
    z = count(a, wide, mask, "mean")
    return like(a, f(wide, up(a, y), mask=mask) * (z / (z - 1 + 1e-9)), x)


@fault(COVARIANCE, "masked locations are centered too")
def _(a, ops, f, x, y=None, *, mask=None):
    if mask is None:
        return f(x, y)
    wide = [up(a, s) for s in ([x, x] if y is None else [x, y])]
    z = count(a, wide[0], mask, "mean")
    means = [a.sum(select(a, s, mask), 1, keepdims=True) / z for s in wide]
    left = a.shape(x)[1] - z
    product = a.matmul(transpose_last(a, means[0]), means[1])
    return like(a, f(wide[0], wide[1], mask=mask) + product * (left / z), x)
