"""`bilinear_scores`: draws, hard points, truth with its bound."""

import numpy as np
from hypothesis import strategies as st

from ..bounds import Bounded, exact, products
from ..cases import Case, cotangents, features, pooled_smooth, seeded
from ..contractions import added, contracted
from . import bilinear_pool

CLASSES = 2


@st.composite
def cases(draw, dtype: str) -> Case:
    """A bias is drawn for one stream, and given for two: arguments before another are given."""
    pooled = draw(bilinear_pool.cases(dtype))
    weight = draw(features(dtype, (CLASSES, bilinear_pool.output_shape(pooled)[1])))
    biased = len(pooled.arrays) == 2 or draw(st.booleans())
    return _with(pooled, weight, draw(features(dtype, (CLASSES,))) if biased else None)


def edges(dtype: str) -> dict[str, Case]:
    forms = {"root", "norm", "slope_eps"}
    plain = {
        label: _seeded(dtype, case)
        for label, case in bilinear_pool.edges(dtype).items()
        if not forms & case.options.keys()
    }
    x, weight, bias = plain["mean of three"].arrays
    bad = weight.copy()
    bad[1, 2] = np.nan
    many = Case((seeded(dtype, 2, 3, 9),))  # blocks that are not all of one size
    return plain | {
        "without bias": Case((x, weight)),
        "NaN in a weight": Case((x, bad, bias)),
        "many channels": _seeded(dtype, many),
        "half of many channels": _seeded(dtype, Case(many.arrays, {"packed": True})),
    }


def smooth(dtype: str) -> list[Case]:
    """Two only, for derivatives by weights are many. The scores stay away from 0."""
    one, _, two = pooled_smooth(dtype)
    packed = Case(one.arrays, {"packed": True})
    return [_seeded(dtype, case, positive=True) for case in (packed, two)]


def output_shape(case: Case) -> tuple[int, ...]:
    return (case.arrays[0].shape[0], case.arrays[1].shape[0])


def forward(case: Case, acc: str) -> Bounded:
    """Whether entries are divided by the norm or their sums are: both round each once."""
    _, weight, bias, *_ = (*case.wide(), None)
    scores = contracted("nf,kf->nk", _descriptors(case, acc), exact(weight), acc)
    return scores if bias is None else added(scores, exact(bias[None]), acc)


def vjp(case: Case, cotangent: np.ndarray, acc: str) -> list[Bounded]:
    ct, weight = exact(cotangent.astype(np.longdouble)), case.wide()[1]
    dw = contracted("nk,nf->kf", ct, _descriptors(case, acc), acc)
    db = contracted("n,nk->k", exact(np.ones(len(ct.value), np.longdouble)), ct, acc)
    # ⟨u, γ W⟩ may be summed over entries before it is over classes, as ⟨γ, W u⟩
    magnitude = np.abs(ct.value) @ np.abs(weight)
    of_u = Bounded(ct.value @ weight, products(sum(weight.shape) + 4, acc) * magnitude)
    dx, *dy = bilinear_pool.carried_back(_pooled(case), of_u, acc)
    return [dx, dw, *[db][: len(case.arrays) - 2], *dy]


def _descriptors(case: Case, acc: str) -> Bounded:
    return bilinear_pool.forward(_pooled(case), acc)


def _pooled(case: Case) -> Case:
    """What is pooled alone."""
    return Case(case.arrays[:1] + case.arrays[3:], case.options)


def _with(pooled: Case, weight: np.ndarray, bias: np.ndarray | None) -> Case:
    x, *y = pooled.arrays
    return Case((x, weight, *([] if bias is None else [bias]), *y), pooled.options)


def _seeded(dtype: str, pooled: Case, *, positive: bool = False) -> Case:
    weight = seeded(dtype, CLASSES, bilinear_pool.output_shape(pooled)[1], seed=3)
    return _with(pooled, np.abs(weight) if positive else weight, seeded(dtype, CLASSES, seed=4))


__all__ = ["cases", "cotangents", "edges", "forward", "output_shape", "smooth", "vjp"]
