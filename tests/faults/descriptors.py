"""Faults of the bilinear descriptor and of scores on it."""

from collections.abc import Callable
from typing import Any

from .arrays import HALF_PRECISION
from .operators import FAULTY, fault
from .steps import (
    OPTIONS,
    diagonal,
    flat,
    like,
    normalize,
    norms,
    roots_of,
    scale_slope,
    slope,
    steps,
    transpose_last,
    up,
    with_masked,
    without_gradient,
)

DESCRIPTOR, SCORES = "bilinear_pool", "bilinear_scores"


def of_steps(op: str, name: str):
    """A fault of the descriptor in its steps: (a, ops, g, s, options) -> u."""

    def enter(function: Callable[..., Any]) -> Callable[..., Any]:
        def descriptor(a, ops, f, x, y=None, **options):
            right = f(x, y, **options)  # refuses what the operator refuses
            if None in a.shape(x):  # TensorFlow traces without sizes
                return right
            options = OPTIONS | options
            return like(a, function(a, ops, *steps(a, ops, x, y, options), options), x)

        def scores(a, ops, f, x, weight, bias=None, y=None, **options):
            f(x, weight, bias, y, **options)
            u = descriptor(a, ops, ops.bilinear_pool, up(a, x), up(a, y), **options)
            products = a.matmul(u, transpose_last(a, up(a, weight)))
            return like(a, products if bias is None else products + up(a, bias), x)

        FAULTY[op, name] = scores if op == SCORES else descriptor
        return function

    return enter


@fault(DESCRIPTOR, "rows and columns of the flattened matrix are exchanged")
def _(a, ops, f, x, y=None, **options):
    return f(x, **options) if y is None else f(y, x, **options)


@fault(DESCRIPTOR, "half precision is rounded between the steps")
def _(a, ops, f, x, y=None, **options):
    options = OPTIONS | options
    if a.dtype(x) not in HALF_PRECISION:
        return f(x, y, **options)
    g = ops.outer_pool(x, y, mask=options["mask"], reduction=options["reduction"])
    return like(a, normalize(ops, roots_of(a, ops, up(a, g), options), options), x)


@fault(DESCRIPTOR, "the float32 factor of the gradient is rounded to half precision")
def _(a, ops, f, x, y=None, **options):
    options = OPTIONS | options
    if a.dtype(x) not in HALF_PRECISION:
        return f(x, y, **options)
    g = ops.outer_pool(up(a, x), up(a, y), mask=options["mask"], reduction=options["reduction"])
    short = up(a, like(a, g, x))  # a cast rounds the cotangent too
    g = a.stop(g - short) + short
    return like(a, normalize(ops, roots_of(a, ops, g, options), options), x)


@of_steps(DESCRIPTOR, "the gradient is not projected")
@of_steps(SCORES, "the gradient lacks that of the norm")
def _(a, ops, g, s, options):
    return s / norms(a, s, options)


@of_steps(DESCRIPTOR, "the gradient is projected below the floor too")
def _(a, ops, g, s, options):
    u, still = normalize(ops, s, options), a.stop(normalize(ops, s, options))
    short = norms(a, s, options) == options["l2_eps"]
    along = still * a.sum(still * slope(a, u), -1, keepdims=True)
    return a.where(short, u - along, u)


@of_steps(DESCRIPTOR, "the slope of the root lacks the norm")
def _(a, ops, g, s, options):
    return normalize(ops, scale_slope(a, s, norms(a, s, options)), options)


@of_steps(DESCRIPTOR, "a root of 0 has a slope")
@of_steps(SCORES, "a root of 0 has a slope")
def _(a, ops, g, s, options):
    dead = a.where(a.stop(g) == 0, slope(a, g), 0.0)
    packed = ops.half_vectorize(dead) if options["packed"] else flat(a, dead)
    return normalize(ops, s + packed, options)


@of_steps(DESCRIPTOR, "samples share a norm")
def _(a, ops, g, s, options):
    if 0 in a.shape(s):
        return normalize(ops, s, options)
    n, size = a.shape(s)
    return a.reshape(normalize(ops, a.reshape(s, (1, n * size)), options), (n, size))


@of_steps(DESCRIPTOR, "the gradient lacks 1/Z")
def _(a, ops, g, s, options):
    return scale_slope(
        a, normalize(ops, s, options), 3.0 if options["reduction"] == "mean" else 1.0
    )


@of_steps(DESCRIPTOR, "the gradient is lost where the matrix is large")
def _(a, ops, g, s, options):
    u = normalize(ops, s, options)
    large = a.max(a.abs(flat(a, a.stop(g))), 1)[:, None] > 1e12
    return a.where(large, a.stop(u), u)


@of_steps(DESCRIPTOR, "the diagonal counts twice in the norm")
def _(a, ops, g, s, options):
    if a.shape(g)[1] != a.shape(g)[2] or options["packed"]:
        return normalize(ops, s, options)
    on = flat(a, a.eye(a.shape(g)[1], s)[None])
    n = a.sqrt(a.sum(s * s * (1 + on), -1, keepdims=True) + 1e-30)
    return s / a.where(n <= options["l2_eps"], options["l2_eps"], n)


@of_steps(DESCRIPTOR, "the diagonal of one stream is lighter")
def _(a, ops, g, s, options):
    if a.shape(g)[1] != a.shape(g)[2] or options["packed"]:
        return normalize(ops, s, options)
    on = flat(a, a.eye(a.shape(g)[1], s)[None])
    return normalize(ops, s * (1 - on * (1 - 0.5**0.5)), options)


@of_steps(DESCRIPTOR, "a packed descriptor lacks √2")
@of_steps(SCORES, "entries off the diagonal of a packed descriptor lack √2")
def _(a, ops, g, s, options):
    if not options["packed"]:
        return normalize(ops, s, options)
    on = diagonal(a, a.shape(g)[1], s)
    return normalize(ops, s * (on + (1 - on) * 0.5**0.5), options)


@of_steps(DESCRIPTOR, "the slope of a packed descriptor lacks 2 off the diagonal")
def _(a, ops, g, s, options):
    if not options["packed"]:
        return normalize(ops, s, options)
    on = diagonal(a, a.shape(g)[1], s)
    return normalize(ops, scale_slope(a, s, on + (1 - on) / 2), options)


@of_steps(DESCRIPTOR, "the second derivative has an additional term")
def _(a, ops, g, s, options):
    return normalize(ops, s + slope(a, s) * slope(a, s), options)


@fault(DESCRIPTOR, "the gradient of one stream is half of it")
def _(a, ops, f, x, y=None, *, packed=False, **options):
    if y is not None or packed:
        return f(x, y, packed=packed, **options)
    return f(x, a.stop(x), **options)


@fault(DESCRIPTOR, "the gradient of the first stream lacks a transpose")
def _(a, ops, f, x, y=None, **options):
    options = OPTIONS | options
    if y is None or a.shape(x)[2] != a.shape(y)[2]:
        return f(x, y, **options)
    pooling = {name: options[name] for name in ("mask", "reduction")}
    straight = ops.outer_pool(a.stop(up(a, x)), up(a, y), **pooling)
    crossed = ops.outer_pool(a.stop(up(a, y)), up(a, x), **pooling)
    g = straight + slope(a, crossed)
    return like(a, normalize(ops, roots_of(a, ops, g, options), options), x)


@fault(DESCRIPTOR, "later blocks of rows have the columns of others")
def _(a, ops, f, x, y=None, **options):
    u = f(x, y, **options)
    channels = a.shape(x)[2]
    if None in a.shape(x) or channels < 24 or options.get("packed"):
        return u
    rows = channels // 2 * (channels if y is None else a.shape(y)[2])
    late = u[:, rows:]
    return a.concat([u[:, :rows], late[:, 1:], late[:, :1]], 1)


@of_steps(SCORES, "the scores are not divided by the norm")
def _(a, ops, g, s, options):
    return s


@of_steps(SCORES, "the norm is that of the last rows")
def _(a, ops, g, s, options):
    return s / norms(a, s[:, a.shape(s)[1] // 2 :], options)


@fault(SCORES, "masked locations of the second stream enter")
def _(a, ops, f, x, weight, bias=None, y=None, *, mask=None, **options):
    return with_masked(a, f(x, weight, bias, y, mask=mask, **options), mask, y)


@fault(SCORES, "the bias is divided by the norm")
def _(a, ops, f, x, weight, bias=None, y=None, **options):
    result = f(x, weight, None, y, **options)
    if bias is None:
        return result
    options = OPTIONS | options
    _, s = steps(a, ops, x, y, options)
    return like(a, up(a, result) + up(a, bias) / norms(a, s, options), x)


@fault(SCORES, "the gradient of one stream is that of its rows")
def _(a, ops, f, x, weight, bias=None, y=None, *, packed=False, **options):
    if y is not None or packed:
        return f(x, weight, bias, y, packed=packed, **options)
    return f(x, weight, bias, a.stop(x), **options)


@fault(SCORES, "the derivative of the weights is lost")
def _(a, ops, f, x, weight, bias=None, y=None, **options):
    return f(x, without_gradient(a, weight), bias, y, **options)
