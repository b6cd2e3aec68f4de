"""`outer_max_pool`: random cases, singular points, error bounds.

The maximum of rounded products equals the rounded maximum of the products. The bound of its
gradient is infinite where another product is within rounding of the maximum, but not equal to it.
"""

import numpy as np
from hypothesis import strategies as st

from ..bounds import Bounded, gamma, sum_if_one_stream
from ..cases import (
    SMOOTH_VALID,
    Case,
    away_from_zero,
    features,
    normal,
    options_and_mask,
    pooling_edges,
)
from ..tolerances import UNIT_ROUNDOFF


@st.composite
def cases(draw, dtype: str) -> Case:
    """One stream or two, with or without a mask; of few shapes, as each compiles a loop."""
    n, locations, channels = draw(st.sampled_from([(2, 5, 3), (1, 2, 1), (0, 2, 3), (2, 1, 3)]))
    arrays = [draw(features(dtype, (n, locations, channels)))]
    if draw(st.booleans()):
        arrays.append(draw(features(dtype, (n, locations, 2))))
    return Case(tuple(arrays), draw(options_and_mask((n, locations))))


def edges(dtype: str) -> dict[str, Case]:
    points = pooling_edges(dtype)
    for case in points.values():
        case.options.pop("reduction", None)
    x, y = (np.sign(normal(dtype, 2, 8, size, seed=size)) for size in (3, 2))
    keep = np.random.default_rng(0).random((2, 8)) < 0.7
    same = np.repeat(normal(dtype, 2, 1, 3), 3, axis=1)
    del points["mean of three"], points["NaN behind the mask"]
    return points | {
        "ties": Case((x, y), {"mask": keep}),
        "three equal locations": Case((same,)),
    }


def smooth(dtype: str) -> list[Case]:
    """No step of any test changes which product is largest."""
    x, y = (away_from_zero(dtype, 2, 3, size, seed=size) for size in (4, 2))
    return [Case((x,)), Case((x, y), {"mask": SMOOTH_VALID})]


def forward(case: Case, acc: str) -> Bounded:
    largest = _maxima(case)[1]
    return Bounded(largest, gamma(1, acc) * np.abs(largest))


def vjp(case: Case, g: Bounded, acc: str) -> list[Bounded]:
    products, largest, valid = _maxima(case)
    x, y = (np.where(valid[..., 0], a, 0) for a in (case.upcast()[0], case.upcast()[-1]))
    gap = largest[:, None] - products
    reached = valid & ~(gap > 0)
    count = np.maximum(reached.sum(axis=1, keepdims=True), 1)
    near = 4 * UNIT_ROUNDOFF[acc] * np.abs(largest[:, None])
    undecided = (valid & (gap > 0) & (gap <= near)).any(axis=1, keepdims=True)
    shared = np.where(reached, (g.value + 0 * largest)[:, None] / count, 0)
    carried = np.where(reached, g.error[:, None] / count, 0)
    terms = sum(case.arrays[i].shape[2] for i in (0, -1)) + 6
    gradients = []
    for rule, other in (("nlcd,nld->nlc", y), ("nlcd,nlc->nld", x)):
        size = np.einsum(rule, np.abs(shared), np.abs(other))
        lost = np.einsum(rule, (valid & undecided).astype(int), np.ones_like(other)) > 0
        with np.errstate(invalid="ignore"):  # 0 · inf
            error = np.einsum(rule, carried, np.abs(other))
        error = gamma(terms, acc) * (size + error) + error
        error = np.where(lost | np.isnan(error), np.inf, error)
        gradients.append(Bounded(np.einsum(rule, shared, other), error))
    return sum_if_one_stream(case.arrays, *gradients)


def _maxima(case: Case) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return all products (N, L, C, D), their maxima (N, C, D), and the mask (N, L, 1, 1)."""
    x, y, keep = case.upcast()[0], case.upcast()[-1], case.options["mask"]
    valid = (np.ones(x.shape[:2], bool) if keep is None else keep)[:, :, None, None]
    products = np.where(valid, x[:, :, :, None] * y[:, :, None], -np.inf)
    return products, np.where(valid.any(axis=1), products.max(axis=1), 0), valid
