"""`random_maclaurin`: random cases, singular points, error bounds."""

import functools

import numpy as np
from hypothesis import strategies as st

from ...backends.initial_values import maclaurin_tables
from ...contract.sketches import MaclaurinTables
from ..bounds import Bounded, gamma, products, select_locations, sum_if_one_stream
from ..cases import Case, pooling_cases, pooling_smooth
from .outer_pool import unpack
from .tensor_sketch import REDUCTIONS, draw_tables, sketch_edges

with_tables = functools.partial(draw_tables, maclaurin_tables)


@st.composite
def cases(draw, dtype: str) -> Case:
    case = draw(pooling_cases(dtype, {"reduction": REDUCTIONS}))
    return with_tables(case, draw(st.sampled_from([4, 1])), draw(st.integers(0, 9)))


def edges(dtype: str) -> dict[str, Case]:
    return sketch_edges(dtype, maclaurin_tables, dim=4, dim_not_pooled=3)


def smooth(dtype: str) -> list[Case]:
    one, two, _ = pooling_smooth(dtype)
    signs = np.array([[1.0], [-1.0]]) ** [0, 1, 1]  # the first column is all ones
    few = MaclaurinTables(np.tile(signs, (2, 1)), np.repeat(signs, 2, axis=0))
    apart = Case(two.arrays, two.options | {"reduction": "none"})
    return [Case(one.arrays, one.options | {"tables": few}), with_tables(apart, 3)]


def forward(case: Case, acc: str) -> Bounded:
    """Sums of C and D terms, their product, a sum of L of them, and divisions by Z and √dim."""
    (p, size_p), (q, size_q), z, _ = _steps(case)
    value, size = p * q, size_p * size_q
    if case.options["reduction"] != "none":
        value, size = value.sum(1), size.sum(1)
    terms = sum(a.shape[2] for a in (case.arrays[0], case.arrays[-1])) + case.arrays[0].shape[1]
    z = z.reshape(-1, *[1] * (value.ndim - 1))
    return Bounded(value / z, products(terms + 6, acc) * size / z)


def vjp(case: Case, ct: Bounded, acc: str) -> list[Bounded]:
    """Sums of D terms, Z and √dim, then sums of dim terms."""
    (p, size_p), (q, size_q), z, (w1, w2) = _steps(case)
    if case.options["reduction"] != "none":
        ct = ct.map(lambda part: part[:, None])

    def gradient(other, size, w) -> Bounded:
        terms = other.shape[-1] + max(a.shape[2] for a in case.arrays) + 8
        sizes = (ct.error + products(terms, acc) * (np.abs(ct.value) + ct.error)) * size
        error = sizes @ np.abs(w).T / z
        error = np.where(np.isnan(error), np.inf, error)  # 0 · inf
        value = (ct.value * other) @ w.T / z
        return select_locations(Bounded(value, error), case.options["mask"])

    gradients = gradient(q, size_q, w1), gradient(p, size_p, w2)
    return sum_if_one_stream(case.arrays, *gradients, rounding=gamma(1, acc))


def _steps(case: Case):
    """Return the signed sums of x and of |x| for each stream, then Z √dim, and the tables."""
    x, y, z = unpack(case)
    w1, w2 = (w.astype(np.longdouble) for w in case.options["tables"])
    scale = z * np.sqrt(np.longdouble(w1.shape[1]))
    streams = [(v @ w, np.abs(v) @ np.abs(w)) for v, w in ((x, w1), (y, w2))]
    return *streams, scale, (w1, w2)
