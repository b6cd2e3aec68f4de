"""Error bounds of a correct implementation, derived from the inputs.

This is standard rounding analysis (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed.,
chapters 2-3). With u the unit roundoff of the accumulation dtype, a sum of n products errs by at
most ``γ_n Σ|a||b|`` with ``γ_n = n u / (1 - n u)``, in any order of summation, with or without
fused multiply-add.

Each function takes exact values with their error bounds and returns the next value with its bound,
so that steps can be chained. Everything is computed in extended precision. A bound is
componentwise. It is infinite where the operator is discontinuous within the error of its argument
(a slope near 0, a norm near its floor). `acc` is the accumulation dtype, or "tensorfloat32" if
matrix products round their float32 factors first. The bounds of the operators are in ``ops/``.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .tolerances import FACTOR_ROUNDOFF, UNIT_ROUNDOFF


class Bounded(NamedTuple):
    """An exact value, and the bound on the absolute error of each component."""

    value: np.ndarray
    error: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    def map(self, f: Callable[[np.ndarray], np.ndarray]) -> "Bounded":
        """Apply a function that moves or selects components."""
        return Bounded(f(self.value), f(self.error))

    def reshape(self, shape: tuple[int, ...]) -> "Bounded":
        return self.map(lambda part: part.reshape(shape))


def exact(value: np.ndarray) -> Bounded:
    return Bounded(value, np.zeros_like(value))


def gamma(n: int, accumulation: str) -> float:
    nu = n * UNIT_ROUNDOFF[accumulation]
    return nu / (1 - nu)


def products(n: int, acc: str) -> float:
    """Error of a sum of n products relative to Σ|a||b|: γ_n, plus the rounding of the factors."""
    f = FACTOR_ROUNDOFF.get(acc, 0.0)
    return gamma(n, acc) * (1 + f) ** 2 + 2 * f + f * f


def einsum(rule: str, a: Bounded, b: Bounded, acc: str) -> Bounded:
    """``einsum(rule, a, b)``: the errors of the factors are propagated, and n products summed."""
    first, second = rule.partition("->")[0].split(",")
    sizes = dict(zip(first + second, a.shape + b.shape, strict=True))
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


def apply_monotone(f: Callable, a: Bounded) -> Bounded:
    """Bound a monotone function by its values at both ends, without its own rounding."""
    value = f(a.value)
    return Bounded(value, np.maximum(f(a.value + a.error) - value, value - f(a.value - a.error)))


def select_locations(x: Any, keep: np.ndarray | None) -> Any:
    """Set the locations of `x` (..., N, L, C) where the mask is False to 0."""
    if keep is None:
        return x
    if isinstance(x, Bounded):
        return x.map(lambda part: select_locations(part, keep))
    return np.where(keep[..., None], x, 0)


def divisor(x: np.ndarray, keep: np.ndarray | None, reduction: str) -> np.ndarray:
    """Return the number of locations of each sample that `reduction` divides by, as (N, 1)."""
    count = np.full(x.shape[0], x.shape[1]) if keep is None else keep.sum(1)
    return np.maximum(count if reduction == "mean" else 1, 1)[..., None]


def sum_if_one_stream(
    arrays: tuple, dx: Bounded, dy: Bounded, rounding: float = 0
) -> list[Bounded]:
    """Return the gradients of two streams, or their sum with a rounding relative to |dx| + |dy|."""
    if len(arrays) == 2:
        return [dx, dy]
    error = dx.error + dy.error + rounding * (np.abs(dx.value) + np.abs(dy.value))
    return [Bounded(dx.value + dy.value, error)]


def nan_to_inf(error, value):
    """Set the error to inf where it is NaN although the value is defined."""
    return np.where(np.isnan(error) & ~np.isnan(value), np.inf, error)
