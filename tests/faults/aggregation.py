"""Faults of democratic weights and of the maximum of outer products."""

from typing import Any

from .operators import fault
from .steps import like, scale_slope, select, slope, up

MAXIMUM, WEIGHTS = "outer_max_pool", "democratic_weights"


def products_and_maxima(a: Any, x: Any, y: Any, largest: Any) -> tuple[Any, Any]:
    """All products, (N, L, C, D), and where they are the maximum."""
    products = x[:, :, :, None] * y[:, :, None, :]
    return products, a.stop(products) == a.stop(largest)[:, None]


@fault(MAXIMUM, "ties do not share the gradient")
def _(a, ops, f, x, y=None, *, mask=None):
    if mask is not None:
        return f(x, y, mask=mask)
    wide = up(a, x), up(a, x if y is None else y)
    largest = f(*wide)
    products, at = products_and_maxima(a, *wide, largest)
    every = a.sum(a.where(at, slope(a, products), 0.0), 1)
    return like(a, a.where(a.isnan(largest), largest, a.stop(largest) + every), x)


@fault(MAXIMUM, "masked locations take part in the maximum")
def _(a, ops, f, x, y=None, *, mask=None):
    second = None if y is None else select(a, y, mask)
    return f(select(a, x, mask), second)


@fault(MAXIMUM, "masked locations share the gradient")
def _(a, ops, f, x, y=None, *, mask=None):
    result = f(x, y, mask=mask)
    if mask is None:
        return result
    lost = a.any(a.cast(mask, "bool") == False, 1)[:, None, None]  # noqa: E712
    return a.where(lost, scale_slope(a, result, 0.5), result)


@fault(MAXIMUM, "the maximum of no location is infinite")
def _(a, ops, f, x, y=None, *, mask=None):
    result = f(x, y, mask=mask)
    if mask is None:
        return result
    return a.where(a.any(mask, 1)[:, None, None], result, float("-inf"))


@fault(MAXIMUM, "a NaN maximum has a finite gradient")
def _(a, ops, f, x, y=None, **options):
    result = a.stop(f(x, y, **options))
    clean = [None if s is None else a.where(a.isnan(s), a.zeros_like(s), s) for s in (x, y)]
    return a.where(a.isnan(result), result, f(*clean, **options))


@fault(WEIGHTS, "the targets are always constants")
def _(a, ops, f, x, *, detach_target=False, **options):
    return f(x, detach_target=True, **options)


@fault(WEIGHTS, "the targets are never constants")
def _(a, ops, f, x, *, detach_target=False, **options):
    return f(x, detach_target=False, **options)


@fault(WEIGHTS, "the steps are not damped")
def _(a, ops, f, x, *, damping=0.5, **options):
    return f(x, damping=1.0, **options)


@fault(WEIGHTS, "a zero vector has an infinite slope")
def _(a, ops, f, x, **options):
    result = f(x, **options)
    wide = up(a, x)
    dead = a.sum(a.abs(a.stop(wide)), -1) == 0
    extra = a.sum(slope(a, wide), -1) * 1e30
    return result + like(a, a.where(dead, extra, 0.0), x)


@fault(WEIGHTS, "masked locations have weights")
def _(a, ops, f, x, *, mask=None, **options):
    result = f(x, mask=mask, **options)
    return result if mask is None else a.where(mask, result, 1.0)
