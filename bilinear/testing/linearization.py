"""Error bounds of whole programs, by linearisation.

For many steps in a row, such as an iteration, chained componentwise bounds are too large by orders
of magnitude, because they combine the worst cases of all steps. To first order, the error of a
result is the sum over all roundings δ of ``∂result/∂δ · δ`` (Higham, Accuracy and Stability of
Numerical Algorithms, 2nd ed., section 3.2 and chapter 25; Bauer 1974). Here, each rounding is
perturbed separately, and its effect is computed by the complex step, which has no cancellation.
`SLACK` covers the terms of second order for all test cases.

A program is a function ``program(r, *arrays)`` of arrays (..., N, *sizes). It must be analytic,
accept any number of leading axes, and treat samples independently. It marks its roundings::

    def gram(r, x):
        return r.einsum("...lc,...ld->...cd", x, x) / x.shape[-2]
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .bounds import Bounded, gamma, products

STEP = 1e-150
"""Size of the complex step: its square is negligible, and its product with a rounding is normal."""

CHUNK = 512
"""Number of roundings that are perturbed at once."""


class Roundings:
    """Marks the roundings of a program: the first run records them, later runs perturb them."""

    def __init__(self, acc: str, moved: range | None = None, sites: Sequence[Any] = ()) -> None:
        self.acc, self.moved, self.known = acc, moved, sites
        self.sites: list[np.ndarray] = []

    def __call__(self, value: np.ndarray, terms: int = 1) -> np.ndarray:
        """Mark `value` as the result of `terms` roundings relative to its magnitude."""
        return self.site(value, lambda: gamma(terms, self.acc) * np.abs(value))

    def einsum(self, rule: str, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Compute sums of products in any order; axes are single letters after the ellipsis."""
        value = np.einsum(rule, a, b)

        def size() -> np.ndarray:
            left, right = rule.partition("->")[0].split(",")
            summed = set(left + right) - set(rule.partition("->")[2])
            sizes = dict(zip(left[::-1], a.shape[::-1], strict=False))
            sizes |= dict(zip(right[::-1], b.shape[::-1], strict=False))
            terms = int(np.prod([sizes[letter] for letter in summed]))
            return products(terms, self.acc) * np.einsum(rule, np.abs(a), np.abs(b))

        return self.site(value, size)

    def sum(self, value: np.ndarray, axes: int = 1) -> np.ndarray:
        """Sum over the last axes with ``keepdims=True``."""
        last = tuple(range(-axes, 0))
        terms = int(np.prod([value.shape[axis] for axis in last]))
        total = value.sum(last, keepdims=True)
        return self.site(
            total, lambda: gamma(terms, self.acc) * np.abs(value).sum(last, keepdims=True)
        )

    def site(self, value: np.ndarray, error: Callable[[], np.ndarray]) -> np.ndarray:
        """Mark `value` as having the componentwise error `error`."""
        if self.moved is None:
            self.sites.append(np.broadcast_to(error(), value.shape))
            return value
        errors, begin = self.known[len(self.sites)]
        self.sites.append(errors)
        return value + 1j * STEP * _one_by_one(errors, begin, self.moved)


def propagate(
    program: Callable[..., Any], inputs: Sequence[Bounded], acc: str
) -> Bounded | list[Bounded]:
    """Return the result or results of `program` with the errors of inputs and roundings.

    Axis 0 of every input and result is the batch. The error of a result is infinite if it is NaN,
    or if it depends on an input with an infinite error.
    """
    record = Roundings(acc)
    first = [record.site(b.value, lambda b=b: b.error) for b in inputs]
    result = program(record, *first)
    values = result if isinstance(result, tuple) else (result,)
    begin, known = 0, []
    for errors in record.sites:
        known.append((errors, begin))
        begin += int(np.prod(errors.shape[1:]))
    totals = [np.zeros(v.shape, np.longdouble) for v in values]
    for start in range(0, begin, CHUNK):
        moved = Roundings(acc, range(start, min(start + CHUNK, begin)), known)
        with np.errstate(all="ignore"):
            arrays = [moved.site(b.value, lambda: np.zeros(())) for b in inputs]
            results = program(moved, *arrays)
            results = results if isinstance(results, tuple) else (results,)
            steps = [np.sum(np.abs(np.imag(r)) / STEP, axis=0) for r in results]
        totals = [total + step for total, step in zip(totals, steps, strict=True)]
    bounded = [
        Bounded(v, np.where(np.isfinite(total), total, np.inf))
        for v, total in zip(values, totals, strict=True)
    ]
    return bounded if isinstance(result, tuple) else bounded[0]


def _one_by_one(errors: np.ndarray, begin: int, moved: range) -> np.ndarray:
    """Return (moved, N, *sizes): the error of one component of each sample, and 0 elsewhere."""
    sizes = errors.shape[1:]
    count = int(np.prod(sizes))
    chosen = np.zeros((len(moved), count), np.longdouble)
    low, high = max(begin, moved.start), min(begin + count, moved.stop)
    if low < high:
        rows = np.arange(low, high)
        chosen[rows - moved.start, rows - begin] = 1
    chosen = chosen.reshape(len(moved), 1, *sizes)
    with np.errstate(invalid="ignore"):
        return np.where(chosen == 1, errors, 0)
