"""`hadamard_pool`: random cases, singular points, error bounds."""

import itertools
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ..bounds import Bounded, exact
from ..cases import DTYPES, Case, away_from_zero, cotangents, features, normal
from ..contractions import add, divide, divisor, einsum, select_locations


@st.composite
def cases(draw, dtype: str) -> Case:
    """Two or three streams. Few sizes, so that compilers meet few shapes."""
    shape = draw(st.sampled_from([1, 2, 0])), draw(st.sampled_from([1, 2, 5])), 4
    count = draw(st.sampled_from([2, 3]))
    arrays = tuple(draw(features(dtype, shape)) for _ in range(count))
    options: dict[str, Any] = {
        "reduction": draw(st.sampled_from(["mean", "sum"])),
        "rank": draw(st.sampled_from([1, 2, 4])),
    }
    if draw(st.booleans()):
        options["mask"] = draw(hnp.arrays(np.bool_, shape[:2]))
    return Case(arrays, options)


def edges(dtype: str) -> dict[str, Case]:
    x, y, w = (normal(dtype, 2, 4, 4, seed=seed) for seed in range(3))
    keep = np.array([[True, False, True, True], [False] * 4])
    poisoned = x.copy()
    poisoned[~keep] = np.nan
    nan = x.copy()
    nan[0, 1, 2] = np.nan
    large = np.full((1, 4, 2), 200.0, DTYPES[dtype])
    return {
        "mean of three": Case((x[:, :3], y[:, :3])),
        "all zero": Case((np.zeros_like(x), np.zeros_like(y)), {"rank": 2}),
        "NaN behind the mask of two": Case((poisoned, y), {"mask": keep, "reduction": "sum"}),
        "NaN behind the mask of three": Case((x, poisoned, w), {"mask": keep, "rank": 2}),
        "NaN reaches": Case((nan, y, w)),
        "empty batch": Case((x[:0], y[:0])),
        "beyond the range of float16": Case((large, large), {"reduction": "sum"}),
    }


def smooth(dtype: str) -> list[Case]:
    x, y, w = (away_from_zero(dtype, 2, 3, 4, seed=seed) for seed in range(3))
    keep = np.array([[True, False, True], [True] * 3])
    return [Case((x, y)), Case((x, y, w), {"mask": keep, "rank": 2})]


def output_shape(case: Case) -> tuple[int, ...]:
    n, _, r = case.arrays[0].shape
    pairs = len(case.arrays) * (len(case.arrays) - 1) // 2
    return (n, pairs * r // case.options.get("rank", 1))


def forward(case: Case, acc: str) -> Bounded:
    return forward_from_streams([exact(a) for a in case.upcast()], case.options, acc)


def vjp(case: Case, cotangent: np.ndarray, acc: str) -> list[Bounded]:
    ct = exact(cotangent.astype(np.longdouble))
    return vjp_from_streams(ct, [exact(a) for a in case.upcast()], case.options, acc)


def forward_from_streams(streams: list[Bounded], options: dict[str, Any], acc: str) -> Bounded:
    """The bound for inexact streams."""
    keep, rank = options.get("mask"), options.get("rank", 1)
    z = divisor(streams[0].value, keep, options.get("reduction", "mean"))
    windows = [_windows(select_locations(s, keep), rank) for s in streams]
    pairs = [
        divide(einsum("nlkf,nlkf->nk", a, b, acc), z, acc)
        for a, b in itertools.combinations(windows, 2)
    ]
    return Bounded(*(np.concatenate(parts, axis=1) for parts in zip(*pairs, strict=True)))


def vjp_from_streams(
    ct: Bounded, streams: list[Bounded], options: dict[str, Any], acc: str
) -> list[Bounded]:
    keep, rank = options.get("mask"), options.get("rank", 1)
    z = divisor(streams[0].value, keep, options.get("reduction", "mean"))
    indices = list(itertools.combinations(range(len(streams)), 2))
    parts = (np.split(np.repeat(a, rank, axis=1), len(indices), axis=1) for a in ct)
    spread = [Bounded(*part) for part in zip(*parts, strict=True)]
    streams = [select_locations(s, keep) for s in streams]
    gradients = [exact(np.zeros_like(s.value)) for s in streams]
    for (i, j), g in zip(indices, spread, strict=True):
        share = divide(g, z, acc)
        for one, other in ((i, j), (j, i)):
            term = einsum("nr,nlr->nlr", share, streams[other], acc)
            gradients[one] = add(gradients[one], term, acc)
    return [select_locations(gradient, keep) for gradient in gradients]


def _windows(a: Bounded, rank: int) -> Bounded:
    n, locations, r = a.value.shape
    shape = n, locations, r // rank, rank
    return Bounded(a.value.reshape(shape), a.error.reshape(shape))


__all__ = ["cases", "cotangents", "edges", "forward", "output_shape", "smooth", "vjp"]
