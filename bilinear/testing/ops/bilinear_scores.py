"""`bilinear_scores`: random cases, singular points, error bounds."""

import numpy as np
from hypothesis import strategies as st

from ..bounds import Bounded, add, einsum, exact, products
from ..cases import Case, features, normal, pooling_smooth
from ..operators import Operator
from . import bilinear_pool

CLASSES = 2


@st.composite
def cases(draw, dtype: str) -> Case:
    """The bias is optional with one stream, and required before a second stream."""
    pooled = draw(bilinear_pool.cases(dtype))
    weight = draw(features(dtype, (CLASSES, _size(pooled))))
    has_bias = len(pooled.arrays) == 2 or draw(st.booleans())
    return _with(pooled, weight, draw(features(dtype, (CLASSES,))) if has_bias else None)


def edges(dtype: str) -> dict[str, Case]:
    forms = {"root", "norm", "slope_eps"}
    plain = {
        label: _with_random_weights(dtype, case)
        for label, case in bilinear_pool.edges(dtype).items()
        if not forms & case.options.keys()
    }
    x, weight, bias = plain["mean of three"].arrays
    bad = weight.copy()
    bad[1, 2] = np.nan
    many = Case((normal(dtype, 2, 3, 9),))  # row blocks of different sizes
    return plain | {
        "without bias": Case((x, weight)),
        "NaN in a weight": Case((x, bad, bias)),
        "many channels": _with_random_weights(dtype, many),
        "packed, many channels": _with_random_weights(dtype, Case(many.arrays, {"packed": True})),
    }


def smooth(dtype: str) -> list[Case]:
    """Two cases, because the weights make derivatives expensive. The scores stay away from 0."""
    one, _, two = pooling_smooth(dtype)
    packed = Case(one.arrays, {"packed": True})
    return [_with_random_weights(dtype, case, positive=True) for case in (packed, two)]


def forward(case: Case, acc: str) -> Bounded:
    """The bound holds whether the entries or their sums are divided by the norm."""
    _, weight, bias, *_ = (*case.bounded(), None)
    scores = einsum("nf,kf->nk", _pooled(case).value(acc), weight, acc)
    return scores if bias is None else add(scores, bias.map(lambda part: part[None]), acc)


def vjp(case: Case, ct: Bounded, acc: str) -> list[Bounded]:
    """The gradients for an exact cotangent."""
    weight = case.upcast()[1]
    dw = einsum("nk,nf->kf", ct, _pooled(case).value(acc), acc)
    db = einsum("n,nk->k", exact(np.ones(len(ct.value), np.longdouble)), ct, acc)
    # ⟨u, γ W⟩ may be computed as ⟨γ, W u⟩, which sums over entries first
    magnitude = np.abs(ct.value) @ np.abs(weight)
    of_u = Bounded(ct.value @ weight, products(sum(weight.shape) + 4, acc) * magnitude)
    dx, *dy = _pooled(case).gradients(of_u, acc)
    return [dx, dw, *[db][: len(case.arrays) - 2], *dy]


def _pooled(case: Case) -> Operator:
    return Operator("bilinear_pool", Case(case.arrays[:1] + case.arrays[3:], case.options))


def _size(pooled: Case) -> int:
    c, d = pooled.arrays[0].shape[2], pooled.arrays[-1].shape[2]
    return c * (c + 1) // 2 if "packed" in pooled.options else c * d


def _with(pooled: Case, weight: np.ndarray, bias: np.ndarray | None) -> Case:
    x, *y = pooled.arrays
    return Case((x, weight, *([] if bias is None else [bias]), *y), pooled.options)


def _with_random_weights(dtype: str, pooled: Case, *, positive: bool = False) -> Case:
    weight = normal(dtype, CLASSES, _size(pooled), seed=3)
    return _with(pooled, np.abs(weight) if positive else weight, normal(dtype, CLASSES, seed=4))
