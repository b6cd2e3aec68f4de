"""`signed_sqrt`: draws, hard points, truth with its bound."""

import numpy as np
from hypothesis import strategies as st

from .. import bounds
from ..bounds import Bounded
from ..cases import DTYPES, Case, away_from_zero, cotangents, features

EPS = st.sampled_from([1e-10, 0.0, 1e-5, 0.25])


@st.composite
def cases(draw, dtype: str) -> Case:
    shape = draw(st.sampled_from([(4,), (2, 3), (0,), (), (1, 2, 2)]))
    return Case((draw(features(dtype, shape)),), {"eps": draw(EPS)})


def edges(dtype: str) -> dict[str, Case]:
    info = np.array([0.0, -0.0, 1.0, -1.0, 2.0**-14, -(2.0**-14), 6e4, -6e4])
    g = info.astype(DTYPES[dtype])
    nan = np.array([np.nan, 1.0, 0.0]).astype(DTYPES[dtype])
    return {
        "both zeros": Case((g,)),
        "both zeros without eps": Case((g,), {"eps": 0.0}),
        "NaN stays": Case((nan,)),
    }


def smooth(dtype: str) -> list[Case]:
    return [Case((away_from_zero(dtype, 2, 3, 4),), {"eps": eps}) for eps in (1e-10, 1e-2)]


def output_shape(case: Case) -> tuple[int, ...]:
    return case.arrays[0].shape


def forward(case: Case, acc: str) -> Bounded:
    (g,), eps = case.wide(), case.options.get("eps", 1e-10)
    return bounds.signed_sqrt(bounds.exact(g), eps, acc)


def vjp(case: Case, cotangent: np.ndarray, acc: str) -> list[Bounded]:
    (g,), eps = case.wide(), case.options.get("eps", 1e-10)
    ct = bounds.exact(cotangent.astype(np.longdouble))
    return [bounds.signed_sqrt_vjp(ct, bounds.exact(g), eps, acc)]


__all__ = ["cases", "cotangents", "edges", "forward", "output_shape", "smooth", "vjp"]
