"""Faults of democratic weights and of the maximum of outer products."""

from .operators import fault
from .steps import like, scale_slope, select, slope, up

MAXIMUM, WEIGHTS = "outer_max_pool", "democratic_weights"


@fault(MAXIMUM, "ties do not share the gradient")
def _(a, ops, f, x, y=None, *, mask=None):
    if mask is not None:
        return f(x, y, mask=mask)
    first, second = up(a, x), up(a, x if y is None else y)
    largest = f(first, second)
    products = first[:, :, :, None] * second[:, :, None, :]
    at = a.stop(products) == a.stop(largest)[:, None]
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
