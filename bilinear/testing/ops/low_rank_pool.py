"""`low_rank_pool`: random cases, singular points, error bounds."""

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ..bounds import Bounded, exact, gamma
from ..cases import Case, away_from_zero, cotangents, features, normal
from ..contractions import add, apply_monotone, einsum, select_locations
from . import hadamard_pool

ROUNDINGS = 16
"""Number of roundings of a tanh or sigmoid; some libraries err by several ulp."""


@st.composite
def cases(draw, dtype: str) -> Case:
    """One or two streams. Few sizes, so that compilers meet few shapes."""
    n, locations, c, d, r = draw(st.sampled_from([1, 2, 0])), draw(st.sampled_from([1, 3])), 3, 2, 4
    two = draw(st.booleans())
    shapes = [(n, locations, c), (c, r), (d if two else c, r)]
    shapes += [(n, locations, d)] if two else []
    arrays = tuple(draw(features(dtype, shape)) for shape in shapes)
    options: dict[str, Any] = {
        "reduction": draw(st.sampled_from(["mean", "sum"])),
        "rank": draw(st.sampled_from([1, 2])),
        "activation": draw(st.sampled_from([None, "tanh", "relu", "sigmoid"])),
    }
    if draw(st.booleans()):
        options["mask"] = draw(hnp.arrays(np.bool_, (n, locations)))
    return Case(arrays, options)


def edges(dtype: str) -> dict[str, Case]:
    x, y = normal(dtype, 2, 4, 3), normal(dtype, 2, 4, 2, seed=1)
    u, v, w = (normal(dtype, c, 4, seed=c + i) for i, c in enumerate((3, 3, 2)))
    keep = np.array([[True, False, True, True], [False] * 4])
    poisoned = x.copy()
    poisoned[~keep] = np.nan
    nan, bad = x.copy(), u.copy()
    nan[0, 1, 2] = bad[1, 2] = np.nan
    return {
        "non-square": Case((x, u, w, y), {"rank": 2}),
        "all zero": Case((np.zeros_like(x), u, v), {"activation": "relu"}),
        "NaN behind the mask of two": Case(
            (poisoned, u, w, y), {"mask": keep, "activation": "sigmoid"}
        ),
        "NaN behind the mask": Case((poisoned, u, v), {"mask": keep, "reduction": "sum"}),
        "NaN reaches": Case((nan, u, w, y), {"activation": "relu"}),
        "NaN in a projection": Case((x, bad, v), {"activation": "tanh"}),
        "empty batch": Case((x[:0], u, v)),
    }


def smooth(dtype: str) -> list[Case]:
    """Projections are not near 0, where relu is not differentiable."""
    x, y = (away_from_zero(dtype, 2, 3, c, seed=c) / 2 for c in (4, 3))
    u, v, w = (away_from_zero(dtype, c, 4, seed=i) / 2 for i, c in enumerate((4, 4, 3)))
    keep = np.array([[True, False, True], [True] * 3])
    return [
        Case((x, u, v)),
        Case((x, u, w, y), {"mask": keep, "activation": "tanh", "rank": 2}),
        Case((abs(x), abs(u), abs(w), abs(y)), {"activation": "relu", "reduction": "sum"}),
    ]


def output_shape(case: Case) -> tuple[int, ...]:
    return (case.arrays[0].shape[0], case.arrays[1].shape[1] // case.options.get("rank", 1))


def forward(case: Case, acc: str) -> Bounded:
    *_, p, q = _projections(case, acc)
    streams = [_activate(a, case.options.get("activation"), acc) for a in (p, q)]
    return hadamard_pool.forward_from_streams(streams, case.options, acc)


def vjp(case: Case, cotangent: np.ndarray, acc: str) -> list[Bounded]:
    return vjp_inexact(case, exact(cotangent.astype(np.longdouble)), acc)


def vjp_inexact(case: Case, ct: Bounded, acc: str) -> list[Bounded]:
    """The gradients for an inexact cotangent."""
    x, u, v, y, p, q = _projections(case, acc)
    name, keep = case.options.get("activation"), case.options.get("mask")
    streams = [_activate(a, name, acc) for a in (p, q)]
    da, db = hadamard_pool.vjp_from_streams(ct, streams, case.options, acc)
    dp = einsum("nlr,nlr->nlr", da, _slope(p, name, acc), acc)
    dq = einsum("nlr,nlr->nlr", db, _slope(q, name, acc), acc)
    dx, dy = (einsum("nlr,cr->nlc", d, w, acc) for d, w in ((dp, u), (dq, v)))
    dx, dy = select_locations(dx, keep), select_locations(dy, keep)
    du, dv = (einsum("nlc,nlr->cr", s, d, acc) for s, d in ((x, dp), (y, dq)))
    return [add(dx, dy, acc), du, dv] if len(case.arrays) == 3 else [dx, du, dv, dy]


def _projections(case: Case, acc: str) -> tuple[Bounded, ...]:
    """Return the masked streams, the weights, and the projected streams."""
    x, u, v, *second = (exact(a) for a in case.upcast())
    x = select_locations(x, case.options.get("mask"))
    y = select_locations(second[0], case.options.get("mask")) if second else x
    return x, u, v, y, *(einsum("nlc,cr->nlr", s, w, acc) for s, w in ((x, u), (y, v)))


def _activate(p: Bounded, name: str | None, acc: str) -> Bounded:
    if name is None:
        return p
    if name == "relu":
        return apply_monotone(lambda a: np.where(a <= 0, 0, a), p)
    if name == "tanh":
        value, error = apply_monotone(np.tanh, p)
        return Bounded(value, error + gamma(ROUNDINGS, acc) * (np.abs(value) + error))
    value, error = apply_monotone(_sigmoid, p)
    return Bounded(value, error + gamma(ROUNDINGS, acc))  # also for (1 + tanh(p / 2)) / 2


def _slope(p: Bounded, name: str | None, acc: str) -> Bounded:
    """The derivative of an activation, which a compiler may compute from the activation's value."""
    if name is None:
        return exact(np.ones_like(p.value))
    if name == "relu":  # near 0, both 0 and 1 are correct
        undecided = (p.error > 0) & (np.abs(p.value) <= p.error)
        return Bounded(
            *(np.where(a, 0, 1).astype(p.value.dtype) for a in (p.value <= 0, ~undecided))
        )
    a = _activate(p, name, acc)
    if name == "tanh":
        square = einsum("nlr,nlr->nlr", a, a, acc)
        return add(exact(np.ones_like(a.value)), Bounded(-square.value, square.error), acc)
    rest = add(exact(np.ones_like(a.value)), Bounded(-a.value, a.error), acc)
    return einsum("nlr,nlr->nlr", a, rest, acc)


def _sigmoid(p: np.ndarray) -> np.ndarray:
    e = np.exp(-np.abs(p))
    return np.where(p >= 0, 1, e) / (1 + e)


__all__ = ["cases", "cotangents", "edges", "forward", "output_shape", "smooth", "vjp"]
