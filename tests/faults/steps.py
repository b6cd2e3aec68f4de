"""Steps that several faulty formulas share."""

import math
from typing import Any

from .arrays import HALF_PRECISION

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


def up(a: Any, x: Any) -> Any:
    """Cast an array to the accumulation dtype."""
    return a.cast(x, "float32") if x is not None and a.dtype(x) in HALF_PRECISION else x


def like(a: Any, result: Any, x: Any) -> Any:
    """Cast the result to the dtype of `x`."""
    return a.cast(result, a.dtype(x))


def select(a: Any, x: Any, mask: Any) -> Any:
    """Set the features to 0 where the mask is False."""
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
    """Flatten matrices to rows of a known size."""
    n, *sizes = a.shape(g)
    return a.reshape(g, (n, math.prod(sizes)))


def transpose_last(a: Any, g: Any) -> Any:
    """Exchange the last two axes."""
    *axes, row, column = range(len(a.shape(g)))
    return a.transpose(g, (*axes, column, row))


def trace(a: Any, m: Any) -> Any:
    return a.sum(a.sum(m * a.eye(a.shape(m)[-1], m), -1), -1)


def with_masked(a: Any, result: Any, mask: Any, *streams: Any) -> Any:
    """Add 0 times the masked features to each sample, so that a NaN behind the mask reaches it."""
    if mask is None:
        return result
    hidden = [a.where(mask[:, :, None], 0.0, up(a, x) * 0) for x in streams if x is not None]
    total = sum(a.sum(a.sum(h, -1), -1, keepdims=True) for h in hidden)
    return like(a, up(a, result) + total, result)


def without_nan(a: Any, *streams: Any) -> list[Any]:
    return [None if x is None else a.where(a.isnan(x), a.zeros_like(x), x) for x in streams]


def slope(a: Any, x: Any) -> Any:
    """Return a term with value 0 and slope 1."""
    return x - a.stop(x)


def without_gradient(a: Any, x: Any) -> Any:
    """Return the value of `x` with a gradient of 0."""
    return scale_slope(a, x, 0.0)


def scale_slope(a: Any, x: Any, factor: Any) -> Any:
    """Return the value of `x` with `factor` times its slope."""
    return a.stop(x) + slope(a, x) * factor


def length(a: Any, z: Any) -> Any:
    """Return norms over the last axis; zero norms become 1e-15, with a finite gradient."""
    square = a.sum(z * z, -1, keepdims=True)
    return a.sqrt(a.where(square == 0, 1e-30, square))


def diagonal(a: Any, channels: int, x: Any) -> Any:
    """Return 1 at the diagonal entries of a packed triangle, else 0."""
    eye = a.eye(channels, x)
    return a.concat([eye[c, c:] for c in range(channels)], 0)


def steps(a: Any, ops: Any, x: Any, y: Any, options: dict[str, Any]) -> tuple[Any, Any]:
    """Return the pooled matrix and its roots as rows, computed with the correct operators."""
    g = ops.outer_pool(up(a, x), up(a, y), mask=options["mask"], reduction=options["reduction"])
    return g, roots_of(a, ops, g, options)


def roots_of(a: Any, ops: Any, g: Any, options: dict[str, Any]) -> Any:
    arguments = {name: options[name] for name in ("eps", "root", "slope_eps")}
    s = ops.signed_sqrt(g, **arguments)
    return ops.half_vectorize(s) if options["packed"] else flat(a, s)


def normalize(ops: Any, s: Any, options: dict[str, Any]) -> Any:
    return ops.l2_normalize(s, eps=options["l2_eps"], norm=options["norm"])


def norms(a: Any, s: Any, options: dict[str, Any]) -> Any:
    """Return the divisors of the roots, as constants."""
    n = a.stop(length(a, s))
    if options["norm"] == "added":
        return a.sqrt(n * n + options["l2_eps"])
    return a.where(n <= options["l2_eps"], options["l2_eps"], n)
