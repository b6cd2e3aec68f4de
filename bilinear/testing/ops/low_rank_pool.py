"""`low_rank_pool`: random cases, singular points, error bounds."""

from collections.abc import Callable

import numpy as np
from hypothesis import strategies as st

from ..bounds import Bounded, add, apply_monotone, einsum, exact, gamma, negate, select_locations
from ..cases import (
    REDUCTIONS,
    SMOOTH_VALID,
    VALID,
    Case,
    away_from_zero,
    features,
    normal,
    options_and_mask,
    with_nan,
)
from ..operators import operator

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
    options = options_and_mask(
        (n, locations),
        reduction=REDUCTIONS,
        rank=st.sampled_from([1, 2]),
        activation=st.sampled_from([None, "tanh", "relu", "sigmoid"]),
    )
    return Case(arrays, draw(options))


def edges(dtype: str) -> dict[str, Case]:
    x, y = normal(dtype, 2, 4, 3), normal(dtype, 2, 4, 2, seed=1)
    u, v, w = (normal(dtype, c, 4, seed=c + i) for i, c in enumerate((3, 3, 2)))
    (hidden, nan), bad = with_nan(x), u.copy()
    bad[1, 2] = np.nan
    masked = {"mask": VALID}
    return {
        "non-square": Case((x, u, w, y), {"rank": 2}),
        "all zero": Case((np.zeros_like(x), u, v), {"activation": "relu"}),
        "NaN behind the mask of two": Case((hidden, u, w, y), masked | {"activation": "sigmoid"}),
        "NaN behind the mask": Case((hidden, u, v), masked | {"reduction": "sum"}),
        "NaN reaches": Case((nan, u, w, y), {"activation": "relu"}),
        "NaN in a projection": Case((x, bad, v), {"activation": "tanh"}),
        "empty batch": Case((x[:0], u, v)),
    }


def smooth(dtype: str) -> list[Case]:
    """Projections are not near 0, where relu is not differentiable."""
    x, y = (away_from_zero(dtype, 2, 3, c, seed=c) / 2 for c in (4, 3))
    u, v, w = (away_from_zero(dtype, c, 4, seed=i) / 2 for i, c in enumerate((4, 4, 3)))
    return [
        Case((x, u, v)),
        Case((x, u, w, y), {"mask": SMOOTH_VALID, "activation": "tanh", "rank": 2}),
        Case((abs(x), abs(u), abs(w), abs(y)), {"activation": "relu", "reduction": "sum"}),
    ]


def forward(case: Case, acc: str) -> Bounded:
    return operator("hadamard_pool", _activated(case, acc), case.options).value(acc)


def vjp(case: Case, ct: Bounded, acc: str) -> list[Bounded]:
    name, keep = case.options["activation"], case.options["mask"]
    pooled = operator("hadamard_pool", _activated(case, acc), case.options)
    of_streams, of_weights = [], []
    for of_activated, (s, w) in zip(pooled.gradients(ct, acc), _streams(case), strict=True):
        d = einsum("nlr,nlr->nlr", of_activated, _slope(_project(s, w, acc), name, acc), acc)
        of_streams.append(select_locations(einsum("nlr,cr->nlc", d, w, acc), keep))
        of_weights.append(einsum("nlc,nlr->cr", s, d, acc))
    dx, dy = of_streams
    return [add(dx, dy, acc), *of_weights] if len(case.arrays) == 3 else [dx, *of_weights, dy]


def _streams(case: Case) -> list[tuple[Bounded, Bounded]]:
    """Return each masked stream with its weights."""
    x, u, v, *second = case.bounded()
    x, y = (select_locations(s, case.options["mask"]) for s in (x, [x, *second][-1]))
    return [(x, u), (y, v)]


def _project(s: Bounded, w: Bounded, acc: str) -> Bounded:
    return einsum("nlc,cr->nlr", s, w, acc)


def _activated(case: Case, acc: str) -> list[Bounded]:
    name = case.options["activation"]
    return [_activate(_project(s, w, acc), name, acc) for s, w in _streams(case)]


def _activate(p: Bounded, name: str | None, acc: str) -> Bounded:
    if name is None:
        return p
    functions: dict[str, Callable] = {"tanh": np.tanh, "sigmoid": _sigmoid}
    if name == "relu":
        return apply_monotone(lambda a: np.where(a <= 0, 0, a), p)
    value, error = apply_monotone(functions[name], p)
    # (1 + tanh(p / 2)) / 2 has the absolute error of 1
    size = np.abs(value) + error if name == "tanh" else 1
    return Bounded(value, error + gamma(ROUNDINGS, acc) * size)


def _slope(p: Bounded, name: str | None, acc: str) -> Bounded:
    """The derivative of an activation, which a compiler may compute from the activation's value."""
    one = exact(np.ones_like(p.value))
    if name is None:
        return one
    if name == "relu":  # near 0, both 0 and 1 are correct
        undecided = (p.error > 0) & (np.abs(p.value) <= p.error)
        return Bounded(~(p.value <= 0), undecided).map(lambda part: part.astype(p.value.dtype))
    a = _activate(p, name, acc)
    if name == "tanh":
        return add(one, negate(einsum("nlr,nlr->nlr", a, a, acc)), acc)
    return einsum("nlr,nlr->nlr", a, add(one, negate(a), acc), acc)


def _sigmoid(p: np.ndarray) -> np.ndarray:
    e = np.exp(-np.abs(p))
    return np.where(p >= 0, 1, e) / (1 + e)
