"""Componentwise error bounds of sums of products (as einsum rules) and of monotone functions.

As in `bounds`, each function takes exact values with error bounds and returns the next value with
its bound, so that steps can be chained.
"""

from collections.abc import Callable

import numpy as np

from . import bounds
from .bounds import Bounded, gamma, products


def einsum(rule: str, a: Bounded, b: Bounded, acc: str) -> Bounded:
    """``einsum(rule, a, b)``: the errors of the factors are propagated, and n products summed."""
    first, second = rule.partition("->")[0].split(",")
    sizes = dict(zip(first + second, a.value.shape + b.value.shape, strict=True))
    terms = int(np.prod([sizes[axis] for axis in sizes if axis not in rule.partition("->")[2]]))
    magnitude = np.einsum(rule, np.abs(a.value), np.abs(b.value))
    carried = np.einsum(rule, a.error, np.abs(b.value) + b.error)
    carried = carried + np.einsum(rule, np.abs(a.value), b.error)
    error = carried + products(terms, acc) * (magnitude + carried)
    return Bounded(np.einsum(rule, a.value, b.value), error)


def add(a: Bounded, b: Bounded, acc: str) -> Bounded:
    """``a + b``, with one rounding."""
    value, error = a.value + b.value, a.error + b.error
    return Bounded(value, error + gamma(1, acc) * (np.abs(value) + error))


def divide(a: Bounded, z: np.ndarray | int, acc: str) -> Bounded:
    """``a / z`` for an exact z, with 2 roundings because it may be computed as ``a · (1 / z)``."""
    value, error = a.value / z, a.error / z
    return Bounded(value, error + gamma(2, acc) * (np.abs(value) + error))


def negate(a: Bounded) -> Bounded:
    return Bounded(-a.value, a.error)


def select_locations(a: Bounded, keep: np.ndarray | None) -> Bounded:
    return Bounded(*(bounds.select_locations(part, keep) for part in a))


def apply_monotone(f: Callable, a: Bounded) -> Bounded:
    """Bound a monotone function by its values at both ends, without its own rounding."""
    value = f(a.value)
    return Bounded(value, np.maximum(f(a.value + a.error) - value, value - f(a.value - a.error)))


def divisor(x: np.ndarray, keep: np.ndarray | None, reduction: str) -> np.ndarray | int:
    """Return the divisor of each sample as (N, 1), or 1 for sums."""
    if reduction == "sum":
        return 1
    count = np.full(x.shape[0], x.shape[1]) if keep is None else keep.sum(1)
    return np.maximum(count, 1)[:, None]
