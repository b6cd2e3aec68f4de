"""`hadamard_pool`: random cases, singular points, error bounds."""

import itertools

import numpy as np
from hypothesis import strategies as st

from ..bounds import Bounded, add, divide, divisor, einsum, exact, select_locations
from ..cases import (
    DTYPES,
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
    """Two or three streams. Few sizes, so that compilers meet few shapes."""
    shape = draw(st.sampled_from([1, 2, 0])), draw(st.sampled_from([1, 2, 5])), 4
    count = draw(st.sampled_from([2, 3]))
    arrays = tuple(draw(features(dtype, shape)) for _ in range(count))
    ranks = st.sampled_from([1, 2, 4])
    return Case(arrays, draw(options_and_mask(shape[:2], reduction=REDUCTIONS, rank=ranks)))


def edges(dtype: str) -> dict[str, Case]:
    x, y, w = (normal(dtype, 2, 4, 4, seed=seed) for seed in range(3))
    hidden, nan = with_nan(x)
    large = np.full((1, 4, 2), 200.0, DTYPES[dtype])
    return {
        "mean of three": Case((x[:, :3], y[:, :3])),
        "all zero": Case((np.zeros_like(x), np.zeros_like(y)), {"rank": 2}),
        "NaN behind the mask of two": Case((hidden, y), {"mask": VALID, "reduction": "sum"}),
        "NaN behind the mask of three": Case((x, hidden, w), {"mask": VALID, "rank": 2}),
        "NaN reaches": Case((nan, y, w)),
        "empty batch": Case((x[:0], y[:0])),
        "beyond the range of float16": Case((large, large), {"reduction": "sum"}),
    }


def smooth(dtype: str) -> list[Case]:
    x, y, w = (away_from_zero(dtype, 2, 3, 4, seed=seed) for seed in range(3))
    return [Case((x, y)), Case((x, y, w), {"mask": SMOOTH_VALID, "rank": 2})]


def forward(case: Case, acc: str) -> Bounded:
    streams, z = _unpack(case)
    n, locations, r = streams[0].shape
    rank = case.options["rank"]
    windows = [s.reshape((n, locations, r // rank, rank)) for s in streams]
    pairs = [
        divide(einsum("nlkf,nlkf->nk", a, b, acc), z, acc)
        for a, b in itertools.combinations(windows, 2)
    ]
    return Bounded(*(np.concatenate(parts, axis=1) for parts in zip(*pairs, strict=True)))


def vjp(case: Case, ct: Bounded, acc: str) -> list[Bounded]:
    streams, z = _unpack(case)
    indices = list(itertools.combinations(range(len(streams)), 2))
    spread = ct.map(lambda part: np.repeat(part, case.options["rank"], axis=1))
    shares = zip(*(np.split(part, len(indices), axis=1) for part in spread), strict=True)
    gradients = [exact(np.zeros_like(s.value)) for s in streams]
    for (i, j), share in zip(indices, shares, strict=True):
        divided = divide(Bounded(*share), z, acc)
        for one, other in ((i, j), (j, i)):
            term = einsum("nr,nlr->nlr", divided, streams[other], acc)
            gradients[one] = add(gradients[one], term, acc)
    return [select_locations(gradient, case.options["mask"]) for gradient in gradients]


def _unpack(case: Case) -> tuple[list[Bounded], np.ndarray]:
    """Return the masked streams, and Z."""
    keep, streams = case.options["mask"], case.bounded()
    z = divisor(streams[0].value, keep, case.options["reduction"])
    return [select_locations(s, keep) for s in streams], z
