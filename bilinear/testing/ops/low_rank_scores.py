"""`low_rank_scores`: random cases, singular points, error bounds."""

from typing import Any

import numpy as np
from hypothesis import strategies as st

from ..bounds import Bounded, add, divide, divisor, einsum, exact, negate, select_locations
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


@st.composite
def cases(draw, dtype: str) -> Case:
    """Few sizes, so that compilers meet few shapes."""
    n, locations, c, k = draw(st.sampled_from([1, 2, 0])), draw(st.sampled_from([1, 3])), 3, 2
    plus, minus = draw(st.sampled_from([(2, 1), (1, 0)]))
    shapes = [(n, locations, c), (k, c, plus), (k, c, minus), (k,)]
    arrays = tuple(draw(features(dtype, shape)) for shape in shapes)
    return Case(arrays, draw(options_and_mask((n, locations), reduction=REDUCTIONS)))


def edges(dtype: str) -> dict[str, Case]:
    x, bias = normal(dtype, 2, 4, 3), normal(dtype, 2, seed=3)
    plus, minus = normal(dtype, 2, 3, 2, seed=1), normal(dtype, 2, 3, 1, seed=2)
    (hidden, nan), bad = with_nan(x), plus.copy()
    bad[1, 2, 0] = np.nan
    masked_mean = {"mask": VALID, "reduction": "mean"}
    return {
        "mean of three": Case((x[:, :3], plus, minus, bias), {"reduction": "mean"}),
        "all zero": Case((np.zeros_like(x), plus, minus, bias)),
        "NaN behind the mask": Case((hidden, plus, minus, bias), masked_mean),
        "NaN reaches": Case((nan, plus, minus, bias)),
        "NaN in a projection": Case((x, bad, minus, bias)),
        "without positive part": Case((x, plus[..., :0], minus, bias)),
        "empty batch": Case((x[:0], plus, minus, bias)),
    }


def smooth(dtype: str) -> list[Case]:
    x = away_from_zero(dtype, 2, 3, 4)
    plus, minus = (away_from_zero(dtype, 3, 4, r, seed=r) for r in (2, 1))
    bias = away_from_zero(dtype, 3, seed=3)
    return [
        Case((x, 2 * plus, minus / 2, bias)),  # the scores stay away from 0
        Case((x, plus, minus, bias), {"mask": SMOOTH_VALID, "reduction": "mean"}),
    ]


def forward(case: Case, acc: str) -> Bounded:
    x, plus, minus, bias, z = _unpack(case)
    squares = [
        einsum("nlkr,nlkr->nk", p, p, acc)
        for p in (einsum("nlc,kcr->nlkr", x, u, acc) for u in (plus, minus))
    ]
    difference = add(squares[0], negate(squares[1]), acc)
    return add(divide(difference, z, acc), bias.map(lambda part: part[None]), acc)


def vjp(case: Case, ct: Bounded, acc: str) -> list[Bounded]:
    x, plus, minus, _, z = _unpack(case)
    share = divide(ct.map(lambda part: 2 * part), z, acc)
    of_x, of_u = [], []
    for u, weight in ((plus, share), (minus, negate(share))):
        projected = einsum("nlc,kcr->nlkr", x, u, acc)
        d = einsum("nk,nlkr->nlkr", weight, projected, acc)
        of_x.append(einsum("nlkr,kcr->nlc", d, u, acc))
        of_u.append(einsum("nlc,nlkr->kcr", x, d, acc))
    ones = exact(np.ones(len(ct.value), np.longdouble))
    dx = select_locations(add(of_x[0], of_x[1], acc), case.options["mask"])
    return [dx, *of_u, einsum("n,nk->k", ones, ct, acc)]


def _unpack(case: Case) -> Any:
    """Return the masked stream, both projections, the bias, and Z."""
    (x, *rest), keep = case.bounded(), case.options["mask"]
    return select_locations(x, keep), *rest, divisor(x.value, keep, case.options["reduction"])
