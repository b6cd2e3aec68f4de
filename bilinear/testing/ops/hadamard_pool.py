"""`hadamard_pool`: draws, hard points, truth with its bound."""

import itertools
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ..bounds import Bounded, exact
from ..cases import DTYPES, Case, away_from_zero, cotangents, features, seeded
from ..contractions import added, contracted, divided, divisor, kept


@st.composite
def cases(draw, dtype: str) -> Case:
    """Two streams or three. Few sizes, so compilers meet few shapes."""
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
    x, y, w = (seeded(dtype, 2, 4, 4, seed=seed) for seed in range(3))
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
        "beyond the half range": Case((large, large), {"reduction": "sum"}),
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
    return pooled([exact(a) for a in case.wide()], case.options, acc)


def vjp(case: Case, cotangent: np.ndarray, acc: str) -> list[Bounded]:
    ct = exact(cotangent.astype(np.longdouble))
    return pooled_vjp(ct, [exact(a) for a in case.wide()], case.options, acc)


def pooled(streams: list[Bounded], options: dict[str, Any], acc: str) -> Bounded:
    """Of streams that err already."""
    keep, rank = options.get("mask"), options.get("rank", 1)
    z = divisor(streams[0].value, keep, options.get("reduction", "mean"))
    windows = [_windows(kept(s, keep), rank) for s in streams]
    pairs = [
        divided(contracted("nlkf,nlkf->nk", a, b, acc), z, acc)
        for a, b in itertools.combinations(windows, 2)
    ]
    return Bounded(*(np.concatenate(parts, axis=1) for parts in zip(*pairs, strict=True)))


def pooled_vjp(
    ct: Bounded, streams: list[Bounded], options: dict[str, Any], acc: str
) -> list[Bounded]:
    keep, rank = options.get("mask"), options.get("rank", 1)
    z = divisor(streams[0].value, keep, options.get("reduction", "mean"))
    numbers = list(itertools.combinations(range(len(streams)), 2))
    parts = (np.split(np.repeat(a, rank, axis=1), len(numbers), axis=1) for a in ct)
    spread = [Bounded(*part) for part in zip(*parts, strict=True)]
    streams = [kept(s, keep) for s in streams]
    gradients = [exact(np.zeros_like(s.value)) for s in streams]
    for (i, j), g in zip(numbers, spread, strict=True):
        share = divided(g, z, acc)
        for one, other in ((i, j), (j, i)):
            term = contracted("nr,nlr->nlr", share, streams[other], acc)
            gradients[one] = added(gradients[one], term, acc)
    return [kept(gradient, keep) for gradient in gradients]


def _windows(a: Bounded, rank: int) -> Bounded:
    n, locations, r = a.value.shape
    shape = n, locations, r // rank, rank
    return Bounded(a.value.reshape(shape), a.error.reshape(shape))


__all__ = ["cases", "cotangents", "edges", "forward", "output_shape", "smooth", "vjp"]
