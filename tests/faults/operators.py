"""Faults of the operators, each written once and planted in every framework.

A faulty operator is called as ``faulty(a, ops, f, *arrays, **options)``: `a` holds the array
functions of the framework, `ops` its operators, and `f` is the correct operator. Values are
changed directly. Gradients are changed by terms of value 0: ``x - stop(x)`` has the slope 1, its
square has the slope 0 and the second derivative 2.
"""

import functools
import importlib
import itertools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from . import FRAMEWORKS, Fault, wrap
from .arrays import HALF_PRECISION, arrays

FAULTY: dict[tuple[str, str], Callable[..., Any]] = {}
"""(operator, name of the fault) -> the faulty operator."""


def fault(op: str, name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter a faulty operator into the table."""

    def enter(function: Callable[..., Any]) -> Callable[..., Any]:
        assert (op, name) not in FAULTY
        FAULTY[op, name] = function
        return function

    return enter


def plant(op: str, faulty: Callable[..., Any], framework: str) -> None:
    """Replace the operator in its namespace."""
    namespace = importlib.import_module(f"bilinear.{framework}")
    a = arrays(framework)
    ops = SimpleNamespace(**{name: getattr(namespace, name) for name in namespace.__all__})

    def on_arrays(f: Callable[..., Any], *given: Any, **options: Any) -> Any:
        known = [x if x is None else a.array(x) for x in given]
        masked = {k: v if v is None or k != "mask" else a.array(v) for k, v in options.items()}
        return faulty(a, ops, f, *known, **masked)

    wrap(namespace, op, on_arrays)


def faults() -> list[Fault]:
    """Every fault of the table in every framework."""
    return [
        Fault(
            f"{op}: {name}", framework, functools.partial(plant, op, function, framework), tests(op)
        )
        for (op, name), function in FAULTY.items()
        for framework in FRAMEWORKS
    ]


def tests(op: str) -> tuple[str, ...]:
    """What must find a fault of the operator: its own tests, without compilers."""
    return (f"tests/operators/test_{op}.py", "-k", "not compile")


# --- steps that several faults share ---


def up(a: Any, x: Any) -> Any:
    """The array in the accumulation dtype."""
    return a.cast(x, "float32") if x is not None and a.dtype(x) in HALF_PRECISION else x


def like(a: Any, result: Any, x: Any) -> Any:
    """The result in the dtype of `x`."""
    return a.cast(result, a.dtype(x))


def select(a: Any, x: Any, mask: Any) -> Any:
    """The features where the mask is True, 0 elsewhere."""
    return x if mask is None else a.where(mask[:, :, None], x, 0.0)


def count(a: Any, x: Any, mask: Any, reduction: str) -> Any:
    """The divisor Z, (N, 1, 1) with a mask."""
    if reduction == "sum":
        return 1.0
    if mask is None:
        return float(a.shape(x)[1])
    found = a.sum(a.cast(mask, a.dtype(x)), 1)
    return a.where(found == 0, 1.0, found)[:, None, None]


def flat(a: Any, g: Any) -> Any:
    """Matrices as rows; every size is known."""
    n, *sizes = a.shape(g)
    total = 1
    for size in sizes:
        total *= size
    return a.reshape(g, (n, total))


def mirrored(a: Any, g: Any) -> Any:
    """The last two axes exchanged."""
    axes = list(range(len(a.shape(g))))
    return a.transpose(g, (*axes[:-2], axes[-1], axes[-2]))


def slope(a: Any, x: Any) -> Any:
    """A term of value 0 and slope 1."""
    return x - a.stop(x)


def lost(a: Any, x: Any) -> Any:
    """The value of `x` with a gradient of 0."""
    return rescaled(a, x, 0.0)


def rescaled(a: Any, x: Any, factor: Any) -> Any:
    """The value of `x` with `factor` times its slope."""
    return a.stop(x) + slope(a, x) * factor


# --- outer_pool ---

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


# --- signed_sqrt ---

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
    return rescaled(a, f(g, **options), 2)


@fault(ROOT, "the second derivative has an additional term")
def _(a, ops, f, g, **options):
    return f(g, **options) + slope(a, g) * slope(a, g)


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


# --- l2_normalize ---

NORM = "l2_normalize"


def length(a: Any, z: Any) -> Any:
    """Norms over the last axis; 1e-30 stands for 0."""
    square = a.sum(z * z, -1, keepdims=True)
    return a.sqrt(a.where(square == 0, 1e-30, square))


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
    total = 1
    for size in shape:
        total *= size
    return a.reshape(f(a.reshape(z, (total,)), eps=eps, norm=norm), shape)


@fault(NORM, "an added eps is added to the norm")
def _(a, ops, f, z, *, eps=1e-12, norm="floor"):
    if norm == "floor":
        return f(z, eps=eps)
    wide = up(a, z)
    return like(a, wide / (length(a, wide) + eps), z)


@fault(NORM, "the second derivative has an additional term")
def _(a, ops, f, z, **options):
    return f(z, **options) + slope(a, z) * slope(a, z)


# --- half_vectorize ---

HALF = "half_vectorize"


def diagonal(a: Any, channels: int, x: Any) -> Any:
    """1 at the entries of the packed triangle that are on the diagonal, else 0."""
    rows = [[float(c == d) for d in range(c, channels)] for c in range(channels)]
    values = a.eye(1, x)[0, 0]
    entries = [value for row in rows for value in row]
    return a.concat([a.reshape(values * value, (1,)) for value in entries], 0)


@fault(HALF, "the lower triangle is read")
def _(a, ops, f, g, **options):
    return f(mirrored(a, g), **options)


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


@fault(HALF, "√2 in any case")
def _(a, ops, f, g, *, isometric=True):
    return f(g, isometric=True)


# --- bilinear_pool ---

DESCRIPTOR = "bilinear_pool"
OPTIONS = {
    "mask": None,
    "reduction": "mean",
    "eps": 1e-10,
    "l2_eps": 1e-12,
    "packed": False,
    "root": "signed",
    "slope_eps": None,
    "norm": "floor",
}


def steps(a: Any, ops: Any, x: Any, y: Any, options: dict[str, Any]) -> tuple[Any, Any]:
    """The pooled matrix and its roots as rows, in the accumulation dtype, by the operators."""
    g = ops.outer_pool(up(a, x), up(a, y), mask=options["mask"], reduction=options["reduction"])
    return g, roots_of(a, ops, g, options)


def roots_of(a: Any, ops: Any, g: Any, options: dict[str, Any]) -> Any:
    given = {name: options[name] for name in ("eps", "root", "slope_eps")}
    s = ops.signed_sqrt(g, **given)
    return ops.half_vectorize(s) if options["packed"] else flat(a, s)


def normalize(ops: Any, s: Any, options: dict[str, Any]) -> Any:
    return ops.l2_normalize(s, eps=options["l2_eps"], norm=options["norm"])


def floored(a: Any, s: Any, options: dict[str, Any]) -> Any:
    """The norms that roots are divided by, as constants."""
    n = a.stop(length(a, s))
    if options["norm"] == "added":
        return a.sqrt(n * n + options["l2_eps"])
    return a.where(n <= options["l2_eps"], options["l2_eps"], n)


def of_steps(name: str):
    """A fault of the descriptor that is written in its steps: (a, ops, g, s, options) -> u."""

    def enter(function: Callable[..., Any]) -> Callable[..., Any]:
        def faulty(a, ops, f, x, y=None, **given):
            options = OPTIONS | given
            g, s = steps(a, ops, x, y, options)
            return like(a, function(a, ops, g, s, options), x)

        FAULTY[DESCRIPTOR, name] = faulty
        return function

    return enter


@fault(DESCRIPTOR, "rows and columns of the flattened matrix are exchanged")
def _(a, ops, f, x, y=None, **options):
    return f(x, **options) if y is None else f(y, x, **options)


@fault(DESCRIPTOR, "the two eps are exchanged")
def _(a, ops, f, x, y=None, *, eps=1e-10, l2_eps=1e-12, **options):
    return f(x, y, eps=l2_eps, l2_eps=eps or 1e-30, **options)


@fault(DESCRIPTOR, "half precision is rounded between the steps")
def _(a, ops, f, x, y=None, **given):
    options = OPTIONS | given
    if a.dtype(x) not in HALF_PRECISION:
        return f(x, y, **given)
    g = ops.outer_pool(x, y, mask=options["mask"], reduction=options["reduction"])
    return like(a, normalize(ops, roots_of(a, ops, up(a, g), options), options), x)


@of_steps("the gradient is not projected")
def _(a, ops, g, s, options):
    return s / floored(a, s, options)


@of_steps("the gradient is projected below the floor too")
def _(a, ops, g, s, options):
    u, still = normalize(ops, s, options), a.stop(normalize(ops, s, options))
    short = floored(a, s, options) == options["l2_eps"]
    along = still * a.sum(still * slope(a, u), -1, keepdims=True)
    return a.where(short, u - along, u)


@of_steps("the slope of the root lacks the norm")
def _(a, ops, g, s, options):
    return normalize(ops, rescaled(a, s, floored(a, s, options)), options)


@of_steps("a root of 0 has a slope")
def _(a, ops, g, s, options):
    dead = a.where(a.stop(g) == 0, slope(a, g), 0.0)
    packed = ops.half_vectorize(dead) if options["packed"] else flat(a, dead)
    return normalize(ops, s + packed, options)


@of_steps("samples share a norm")
def _(a, ops, g, s, options):
    if 0 in a.shape(s):
        return normalize(ops, s, options)
    n, size = a.shape(s)
    return a.reshape(normalize(ops, a.reshape(s, (1, n * size)), options), (n, size))


@of_steps("the gradient lacks 1/Z")
def _(a, ops, g, s, options):
    return rescaled(a, normalize(ops, s, options), 3.0 if options["reduction"] == "mean" else 1.0)


@of_steps("the gradient is lost where the matrix is large")
def _(a, ops, g, s, options):
    u = normalize(ops, s, options)
    large = a.max(a.abs(flat(a, a.stop(g))), 1)[:, None] > 1e12
    return a.where(large, a.stop(u), u)


@of_steps("the diagonal counts twice in the norm")
def _(a, ops, g, s, options):
    if a.shape(g)[1] != a.shape(g)[2] or options["packed"]:
        return normalize(ops, s, options)
    on = flat(a, a.eye(a.shape(g)[1], s)[None])
    n = a.sqrt(a.sum(s * s * (1 + on), -1, keepdims=True) + 1e-30)
    return s / a.where(n <= options["l2_eps"], options["l2_eps"], n)


@of_steps("the diagonal of one stream is lighter")
def _(a, ops, g, s, options):
    if a.shape(g)[1] != a.shape(g)[2] or options["packed"]:
        return normalize(ops, s, options)
    on = flat(a, a.eye(a.shape(g)[1], s)[None])
    return normalize(ops, s * (1 - on * (1 - 0.5**0.5)), options)


@of_steps("a packed descriptor lacks √2")
def _(a, ops, g, s, options):
    if not options["packed"]:
        return normalize(ops, s, options)
    on = diagonal(a, a.shape(g)[1], s)
    return normalize(ops, s * (on + (1 - on) * 0.5**0.5), options)


@of_steps("the slope of a packed descriptor lacks 2 off the diagonal")
def _(a, ops, g, s, options):
    if not options["packed"]:
        return normalize(ops, s, options)
    on = diagonal(a, a.shape(g)[1], s)
    return normalize(ops, rescaled(a, s, on + (1 - on) / 2), options)


@of_steps("the second derivative has an additional term")
def _(a, ops, g, s, options):
    return normalize(ops, s + slope(a, s) * slope(a, s), options)


@of_steps("a NaN of the matrix is hidden in the gradient")
def _(a, ops, g, s, options):
    u = normalize(ops, s, options)
    return a.where(a.isnan(u), a.stop(u), u)


@fault(DESCRIPTOR, "the gradient of one stream is half of it")
def _(a, ops, f, x, y=None, *, packed=False, **options):
    if y is not None or packed:
        return f(x, y, packed=packed, **options)
    return f(x, a.stop(x), **options)


@fault(DESCRIPTOR, "the gradient of a second stream is lost")
def _(a, ops, f, x, y=None, **options):
    return f(x, None if y is None else lost(a, y), **options)


@fault(DESCRIPTOR, "the gradient of the first stream lacks a transpose")
def _(a, ops, f, x, y=None, **given):
    options = OPTIONS | given
    if y is None or a.shape(x)[2] != a.shape(y)[2]:
        return f(x, y, **given)
    kept = {name: options[name] for name in ("mask", "reduction")}
    straight = ops.outer_pool(a.stop(up(a, x)), up(a, y), **kept)
    crossed = ops.outer_pool(a.stop(up(a, y)), up(a, x), **kept)
    g = straight + slope(a, crossed)
    return like(a, normalize(ops, roots_of(a, ops, g, options), options), x)


@fault(DESCRIPTOR, "later blocks of rows have the columns of others")
def _(a, ops, f, x, y=None, **options):
    u = f(x, y, **options)
    channels = a.shape(x)[2]
    if channels < 24 or options.get("packed"):
        return u
    rows = channels // 2 * (channels if y is None else a.shape(y)[2])
    late = u[:, rows:]
    return a.concat([u[:, :rows], late[:, 1:], late[:, :1]], 1)


# --- bilinear_scores ---

SCORES = "bilinear_scores"
SCORED = {"bias": None, "y": None, "mask": None, "reduction": "mean"}
SCORED |= {"eps": 1e-10, "l2_eps": 1e-12, "packed": False}


def of_descriptor(name: str):
    """A fault of the scores in their steps: (a, ops, g, s, weight, bias, options) -> scores."""

    def enter(function: Callable[..., Any]) -> Callable[..., Any]:
        def faulty(a, ops, f, x, weight, bias=None, y=None, **given):
            options = OPTIONS | given
            g, s = steps(a, ops, x, y, options)
            wide = up(a, weight), up(a, bias)
            return like(a, function(a, ops, g, s, *wide, options), x)

        FAULTY[SCORES, name] = faulty
        return function

    return enter


def scores(a: Any, u: Any, weight: Any, bias: Any) -> Any:
    products = a.matmul(u, mirrored(a, weight))
    return products if bias is None else products + bias


@of_descriptor("the scores are not divided by the norm")
def _(a, ops, g, s, weight, bias, options):
    return scores(a, s, weight, bias)


@of_descriptor("the bias is divided by the norm")
def _(a, ops, g, s, weight, bias, options):
    return scores(a, s, weight, bias) / floored(a, s, options)


@of_descriptor("the norm is that of the last rows")
def _(a, ops, g, s, weight, bias, options):
    rest = s[:, a.shape(s)[1] // 2 :]
    return scores(a, s / floored(a, rest, options), weight, bias)


@of_descriptor("entries off the diagonal of a packed descriptor lack √2")
def _(a, ops, g, s, weight, bias, options):
    if options["packed"]:
        on = diagonal(a, a.shape(g)[1], s)
        s = s * (on + (1 - on) * 0.5**0.5)
    return scores(a, normalize(ops, s, options), weight, bias)


@fault(SCORES, "the two eps are exchanged")
def _(a, ops, f, x, weight, bias=None, y=None, *, eps=1e-10, l2_eps=1e-12, **options):
    return f(x, weight, bias, y, eps=l2_eps, l2_eps=eps or 1e-30, **options)


@fault(SCORES, "masked locations of the second stream enter")
def _(a, ops, f, x, weight, bias=None, y=None, *, mask=None, **options):
    result = f(x, weight, bias, y, mask=mask, **options)
    if mask is None or y is None:
        return result
    hidden = a.where(mask[:, :, None], 0.0, up(a, y) * 0)
    return like(a, up(a, result) + a.sum(a.sum(hidden, -1), -1, keepdims=True), x)


@of_descriptor("a root of 0 has a slope")
def _(a, ops, g, s, weight, bias, options):
    dead = a.where(a.stop(g) == 0, slope(a, g), 0.0)
    packed = ops.half_vectorize(dead) if options["packed"] else flat(a, dead)
    return scores(a, normalize(ops, s + packed, options), weight, bias)


@of_descriptor("the gradient lacks that of the norm")
def _(a, ops, g, s, weight, bias, options):
    return scores(a, s / floored(a, s, options), weight, bias)


@fault(SCORES, "the gradient of one stream is that of its rows")
def _(a, ops, f, x, weight, bias=None, y=None, *, packed=False, **options):
    if y is not None or packed:
        return f(x, weight, bias, y, packed=packed, **options)
    return f(x, weight, bias, a.stop(x), **options)


@fault(SCORES, "the derivative of the weights is lost")
def _(a, ops, f, x, weight, bias=None, y=None, **options):
    return f(x, lost(a, weight), bias, y, **options)


# --- tensor_sketch and random_maclaurin ---

SKETCH, SIGNS = "tensor_sketch", "random_maclaurin"


def binned(a: Any, ops: Any, x: Any, y: Any, tables: Any, mask: Any, reduction: str, bins) -> Any:
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
            return binned(a, ops, x, y, tables, mask, reduction, function)

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
    return f(x, None if y is None else lost(a, y), **options)


# --- covariance_pool ---

COVARIANCE = "covariance_pool"


@fault(COVARIANCE, "nothing is centred")
def _(a, ops, f, x, y=None, *, mask=None):
    return ops.outer_pool(x, y, mask=mask)


@fault(COVARIANCE, "the covariance is divided by Z − 1")
def _(a, ops, f, x, y=None, *, mask=None):
    wide = up(a, x)
    z = count(a, wide, mask, "mean")
    return like(a, f(wide, up(a, y), mask=mask) * (z / (z - 1 + 1e-9)), x)


@fault(COVARIANCE, "masked locations are centred too")
def _(a, ops, f, x, y=None, *, mask=None):
    if mask is None:
        return f(x, y)
    wide = [up(a, s) for s in ([x, x] if y is None else [x, y])]
    z = count(a, wide[0], mask, "mean")
    means = [a.sum(select(a, s, mask), 1, keepdims=True) / z for s in wide]
    left = a.shape(x)[1] - z
    product = a.matmul(mirrored(a, means[0]), means[1])
    return like(a, f(wide[0], wide[1], mask=mask) + product * (left / z), x)


# --- matrix_sqrt ---

MATRIX = "matrix_sqrt"


def newton_schulz(a: Any, m: Any, step_count: int, scale: Any, wrong_order: bool = False) -> Any:
    """The iteration on symmetric matrices: ``√s · Y`` with Y from ``m / s``."""
    m = (m + mirrored(a, m)) / 2
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


@fault(MATRIX, "the antisymmetric part is rooted too")
def _(a, ops, f, m, **options):
    return f(m, **options) + (m - mirrored(a, m)) / 2


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
    symmetric = (m + mirrored(a, m)) / 2
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
    inner = a.matmul(mirrored(a, vectors), a.matmul(slope(a, wide), vectors))
    lost = a.where(near, inner * off, 0.0)
    return right - like(a, a.matmul(vectors, a.matmul(lost, mirrored(a, vectors))), m)


@fault(MATRIX, "tol is a value, not a fraction of the largest eigenvalue")
def _(a, ops, f, m, *, method="newton_schulz", tol=None, **options):
    right = f(m, method=method, tol=tol, **options)
    if method != "eigen" or tol is None or 0 in a.shape(m):
        return right
    values, vectors = (a.stop(v) for v in eigen_root(a, up(a, m)))
    roots = a.sqrt(a.where(values > tol, values, 0.0))
    wrong = a.matmul(vectors * roots[:, None, :], mirrored(a, vectors))
    return right + like(a, a.stop(wrong) - a.stop(up(a, right)), m)


@fault(MATRIX, "the second derivative has an additional term")
def _(a, ops, f, m, **options):
    return f(m, **options) + slope(a, m) * slope(a, m)


# --- hadamard_pool, low_rank_pool, low_rank_scores ---

HADAMARD, LOW_RANK, LOW_RANK_SCORES = "hadamard_pool", "low_rank_pool", "low_rank_scores"


def spread(a: Any, x: Any, rank: int) -> Any:
    """Channels in an order in which a window has channels that are far apart."""
    size = a.shape(x)[-1] // rank
    order = [r * size + k for k in range(size) for r in range(rank)]
    return a.concat([x[..., i : i + 1] for i in order], len(a.shape(x)) - 1)


@fault(HADAMARD, "windows have channels that are far apart")
def _(a, ops, f, *streams, rank=1, **options):
    return f(*[spread(a, x, rank) for x in streams], rank=rank, **options)


@fault(HADAMARD, "a window is averaged")
def _(a, ops, f, *streams, rank=1, **options):
    wide = [up(a, x) for x in streams]
    return like(a, f(*wide, rank=rank, **options) / rank, streams[0])


@fault(HADAMARD, "only neighbouring streams are paired")
def _(a, ops, f, *streams, **options):
    if len(streams) < 3:
        return f(*streams, **options)
    first, *_ = pairs = [f(x, y, **options) for x, y in itertools.pairwise(streams)]
    return a.concat([*pairs, 0 * first], 1)


@fault(HADAMARD, "only the first stream is masked")
def _(a, ops, f, *streams, mask=None, **options):
    result = f(*streams, mask=mask, **options)
    if mask is None:
        return result
    hidden = [a.where(mask[:, :, None], 0.0, up(a, x) * 0) for x in streams[1:]]
    total = sum(a.sum(a.sum(h, -1), -1, keepdims=True) for h in hidden)
    return like(a, up(a, result) + total, streams[0])


@fault(LOW_RANK, "one projection serves both sides")
def _(a, ops, f, x, u, v, y=None, **options):
    return f(x, u, u + 0 * v if y is None else v, y, **options)


@fault(LOW_RANK, "masked locations reach the projections")
def _(a, ops, f, x, u, v, y=None, *, mask=None, **options):
    result = f(x, u, v, y, mask=mask, **options)
    if mask is None:
        return result
    hidden = a.where(mask[:, :, None], 0.0, up(a, x) * 0)
    return like(a, up(a, result) + a.sum(a.sum(hidden, -1), -1, keepdims=True), x)


@fault(LOW_RANK, "activations of masked locations are pooled")
def _(a, ops, f, x, u, v, y=None, *, mask=None, reduction="mean", **options):
    if mask is None:
        return f(x, u, v, y, reduction=reduction, **options)
    wide = [None if s is None else select(a, up(a, s), mask) for s in (x, y)]
    total = f(wide[0], up(a, u), up(a, v), wide[1], reduction="sum", **options)
    z = count(a, wide[0], mask, reduction)
    return like(a, total / (z if reduction == "sum" else z[:, :, 0]), x)


@fault(LOW_RANK, "a NaN cotangent is hidden by relu")
def _(a, ops, f, x, u, v, y=None, *, activation=None, **options):
    result = f(x, u, v, y, activation=activation, **options)
    return a.where(result == 0, a.stop(result), result) if activation == "relu" else result


@fault(LOW_RANK_SCORES, "the negative part is added")
def _(a, ops, f, x, u_plus, u_minus, bias, **options):
    wide = [up(a, s) for s in (x, u_plus, u_minus, bias)]
    negative = f(wide[0], 0 * wide[1], wide[2], 0 * wide[3], **options)
    return like(a, f(*wide, **options) - 2 * negative, x)


@fault(LOW_RANK_SCORES, "classes and ranks are mixed")
def _(a, ops, f, x, u_plus, u_minus, bias, **options):
    mixed = a.reshape(a.transpose(u_plus, (2, 1, 0)), a.shape(u_plus))
    return f(x, mixed, u_minus, bias, **options)


@fault(LOW_RANK_SCORES, "the bias is divided by the number of locations")
def _(a, ops, f, x, u_plus, u_minus, bias, *, mask=None, reduction="mean"):
    wide = [up(a, s) for s in (x, u_plus, u_minus, bias)]
    z = count(a, wide[0], mask, reduction)
    z = z if isinstance(z, float) else z[:, :, 0]
    unbiased = f(*wide[:3], 0 * wide[3], mask=mask, reduction=reduction)
    return like(a, unbiased + wide[3][None] / z, x)


# --- democratic_weights and outer_max_pool ---

MAXIMUM, WEIGHTS = "outer_max_pool", "democratic_weights"


def reached(a: Any, x: Any, y: Any, largest: Any) -> tuple[Any, Any]:
    """All products, (N, L, C, D), and where they are the maximum."""
    products = x[:, :, :, None] * y[:, :, None, :]
    return products, a.stop(products) == a.stop(largest)[:, None]


@fault(MAXIMUM, "ties do not share the gradient")
def _(a, ops, f, x, y=None, *, mask=None):
    if mask is not None:
        return f(x, y, mask=mask)
    wide = up(a, x), up(a, x if y is None else y)
    largest = f(*wide)
    products, at = reached(a, *wide, largest)
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
    return a.where(lost, rescaled(a, result, 0.5), result)


@fault(MAXIMUM, "the maximum of no location is infinite")
def _(a, ops, f, x, y=None, *, mask=None):
    result = f(x, y, mask=mask)
    if mask is None:
        return result
    return a.where(a.any(mask, 1)[:, None, None], result, float("-inf"))


@fault(MAXIMUM, "a NaN maximum has a finite gradient")
def _(a, ops, f, x, y=None, **options):
    result = f(x, y, **options)
    return a.where(a.isnan(result), a.stop(result), result)


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
