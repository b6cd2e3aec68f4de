"""Faults of the signed square root and the L2 normalization."""

import math
from typing import Any

from .operators import fault
from .steps import length, like, scale_slope, slope, up

ROOT = "signed_sqrt"


def is_signed(options: dict[str, Any]) -> bool:
    return options.get("root", "signed") == "signed" and options.get("slope_eps") is None


@fault(ROOT, "eps is outside the root")
def _(a, ops, f, g, **options):
    if not is_signed(options):
        return f(g, **options)
    wide = up(a, g)
    safe = a.where(wide == 0, 1.0, wide)
    root = a.sign(safe) * (a.sqrt(a.abs(safe)) + options.get("eps", 1e-10))
    return like(a, a.where(wide == 0, 0.0 * wide, root), g)


@fault(ROOT, "eps is doubled")
def _(a, ops, f, g, *, eps=1e-10, **options):
    return f(g, eps=2 * eps, **options)


@fault(ROOT, "the slope at 0 is 1 / (2 √eps)")
def _(a, ops, f, g, *, eps=1e-10, **options):
    wide = up(a, g)
    extra = slope(a, wide) * (0.5 / max(eps, 1e-30) ** 0.5)
    return f(g, eps=eps, **options) + like(a, a.where(a.stop(wide) == 0, extra, 0.0), g)


@fault(ROOT, "the sign is lost")
def _(a, ops, f, g, **options):
    return f(a.abs(g), **options)


@fault(ROOT, "a NaN cotangent is hidden at 0")
def _(a, ops, f, g, **options):
    return a.where(g == 0, a.zeros_like(g), f(g, **options))


@fault(ROOT, "the slope lacks 1/2")
def _(a, ops, f, g, **options):
    return scale_slope(a, f(g, **options), 2)


@fault(ROOT, "the shifted root is not shifted")
def _(a, ops, f, g, *, root="signed", **options):
    return f(g, root="signed" if root == "shifted" else root, **options)


@fault(ROOT, "the shifted root cancels")
def _(a, ops, f, g, *, eps=1e-10, root="signed", **options):
    if root != "shifted":
        return f(g, eps=eps, root=root, **options)
    wide = up(a, g)
    return like(a, f(wide, eps=eps) - a.sign(wide) * float(eps) ** 0.5, g)


@fault(ROOT, "the unsigned root takes |g|")
def _(a, ops, f, g, *, root="signed", **options):
    return f(a.abs(g) if root == "unsigned" else g, root=root, **options)


@fault(ROOT, "a published slope is 0 at 0")
def _(a, ops, f, g, **options):
    result = f(g, **options)
    return result if is_signed(options) else a.where(g == 0, a.stop(result), result)


@fault(ROOT, "the eps of a published slope is inside the root")
def _(a, ops, f, g, *, slope_eps=None, **options):
    if slope_eps is None:
        return f(g, **options)
    wide = up(a, g)
    still = a.stop(wide)
    value = a.stop(f(still, **options))
    return like(a, value + 0.5 / a.sqrt(a.abs(still) + slope_eps) * slope(a, wide), g)


NORM = "l2_normalize"


@fault(NORM, "the floor is on the square")
def _(a, ops, f, z, *, eps=1e-12, norm="floor"):
    return f(z, eps=eps**0.5 if norm == "floor" else eps, norm=norm)


@fault(NORM, "a norm at the floor is above it")
def _(a, ops, f, z, *, eps=1e-12, norm="floor"):
    wide = up(a, z)
    n = length(a, wide)
    at = a.stop(n) == eps
    return like(a, a.where(at, wide / n, f(wide, eps=eps, norm=norm)), z)


@fault(NORM, "the norm is a constant to the gradient")
def _(a, ops, f, z, *, eps=1e-12, norm="floor"):
    wide = up(a, z)
    n = a.stop(length(a, wide))
    if norm == "added":
        return like(a, wide / a.sqrt(n * n + eps), z)
    return like(a, wide / a.where(n <= eps, eps, n), z)


@fault(NORM, "samples share a norm")
def _(a, ops, f, z, *, eps=1e-12, norm="floor"):
    shape = a.shape(z)
    if len(shape) < 2 or 0 in shape:
        return f(z, eps=eps, norm=norm)
    return a.reshape(f(a.reshape(z, (math.prod(shape),)), eps=eps, norm=norm), shape)


@fault(NORM, "an added eps is added to the norm")
def _(a, ops, f, z, *, eps=1e-12, norm="floor"):
    if norm == "floor":
        return f(z, eps=eps)
    wide = up(a, z)
    return like(a, wide / (length(a, wide) + eps), z)
