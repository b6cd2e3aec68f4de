"""`random_maclaurin`: random cases, singular points, error bounds."""

import numpy as np
from hypothesis import strategies as st

from ...backends.initial_values import maclaurin_tables
from ...contract.sketches import MaclaurinTables
from ..bounds import Bounded, exact, gamma, products, select_locations
from ..cases import Case, cotangents, pooling_cases, pooling_edges, pooling_smooth
from .outer_pool import unpack
from .tensor_sketch import REDUCTIONS


@st.composite
def cases(draw, dtype: str) -> Case:
    case = draw(pooling_cases(dtype, {"reduction": REDUCTIONS}))
    return with_tables(case, draw(st.sampled_from([4, 1])), draw(st.integers(0, 9)))


def edges(dtype: str) -> dict[str, Case]:
    plain = pooling_edges(dtype)
    (nan,), masked = plain["NaN reaches"].arrays, plain["NaN behind the mask of two"]
    return {name: with_tables(case, 4) for name, case in plain.items()} | {
        "not pooled": with_tables(Case(masked.arrays, masked.options | {"reduction": "none"}), 3),
        "NaN at one location": with_tables(Case((nan,), {"reduction": "none"}), 4),
    }


def smooth(dtype: str) -> list[Case]:
    one, two, _ = pooling_smooth(dtype)
    signs = np.array([[1.0], [-1.0]]) ** [0, 1, 1]  # the first column is all ones
    few = MaclaurinTables(np.tile(signs, (2, 1)), np.repeat(signs, 2, axis=0))
    apart = Case(two.arrays, two.options | {"reduction": "none"})
    return [Case(one.arrays, one.options | {"tables": few}), with_tables(apart, 3)]


def with_tables(case: Case, dim: int, seed: int = 0) -> Case:
    """Return the case with tables for its channels."""
    c, d = case.arrays[0].shape[2], case.arrays[-1].shape[2]
    return Case(case.arrays, case.options | {"tables": maclaurin_tables(c, d, dim, seed)})


def output_shape(case: Case) -> tuple[int, ...]:
    samples, locations, _ = case.arrays[0].shape
    apart = case.options.get("reduction") == "none"
    return (samples, *([locations] if apart else []), case.options["tables"].w1.shape[1])


def forward(case: Case, acc: str) -> Bounded:
    """Sums of C and D terms, their product, a sum of L of them, and divisions by Z and √dim."""
    (p, size_p), (q, size_q), z, _ = _steps(case)
    value, size = p * q, size_p * size_q
    if case.options.get("reduction") != "none":
        value, size = value.sum(1), size.sum(1)
    terms = sum(a.shape[2] for a in (case.arrays[0], case.arrays[-1])) + case.arrays[0].shape[1]
    z = z.reshape(-1, *[1] * (value.ndim - 1))
    return Bounded(value / z, products(terms + 6, acc) * size / z)


def vjp(case: Case, cotangent: np.ndarray, acc: str) -> list[Bounded]:
    return vjp_inexact(case, exact(cotangent.astype(np.longdouble)), acc)


def vjp_inexact(case: Case, ct: Bounded, acc: str) -> list[Bounded]:
    """For an inexact cotangent: sums of D terms, Z and √dim, then sums of dim terms."""
    (p, size_p), (q, size_q), z, (w1, w2) = _steps(case)
    if case.options.get("reduction") != "none":
        ct = Bounded(ct.value[:, None], ct.error[:, None])
    z = z.reshape(-1, 1, 1)
    keep = case.options.get("mask")

    def along(other, size, w) -> Bounded:
        terms = other.shape[-1] + max(a.shape[2] for a in case.arrays) + 8
        sizes = (ct.error + products(terms, acc) * (np.abs(ct.value) + ct.error)) * size
        error = sizes @ np.abs(w).T / z
        error = np.where(np.isnan(error), np.inf, error)  # 0 · inf
        value = (ct.value * other) @ w.T / z
        return Bounded(select_locations(value, keep), select_locations(error, keep))

    dx, dy = along(q, size_q, w1), along(p, size_p, w2)
    if len(case.arrays) == 2:
        return [dx, dy]
    rounding = gamma(1, acc) * (np.abs(dx.value) + np.abs(dy.value))
    return [Bounded(dx.value + dy.value, dx.error + dy.error + rounding)]


def _steps(case: Case):
    """Return the signed sums of x and of |x| for each stream, then Z √dim, and the tables."""
    x, y, keep, z = unpack(case)
    w1, w2 = (w.astype(np.longdouble) for w in case.options["tables"])
    x, y = select_locations(x, keep), select_locations(y, keep)
    scale = np.reshape(z, -1) * np.sqrt(np.longdouble(w1.shape[1]))
    streams = [(v @ w, np.abs(v) @ np.abs(w)) for v, w in ((x, w1), (y, w2))]
    return *streams, scale, (w1, w2)


__all__ = ["cases", "cotangents", "edges", "forward", "output_shape", "smooth", "vjp"]
