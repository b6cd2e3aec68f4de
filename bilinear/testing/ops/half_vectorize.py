"""`half_vectorize`: random cases, singular points, error bounds."""

import numpy as np
from hypothesis import strategies as st

from .. import bounds
from ..bounds import Bounded
from ..cases import Case, cotangents, features, normal


@st.composite
def cases(draw, dtype: str) -> Case:
    """Mostly isometric cases, because the others do not round."""
    shape = draw(st.sampled_from([(2, 3, 3), (1, 2, 2), (0, 3, 3)]))
    isometric = draw(st.sampled_from([True, True, True, False]))
    return Case((draw(features(dtype, shape)),), {"isometric": isometric})


def edges(dtype: str) -> dict[str, Case]:
    g = normal(dtype, 2, 4, 4)
    below, above = g.copy(), g.copy()
    below[:, 2, 1] = above[:, 1, 2] = np.nan
    return {
        "not symmetric": Case((g,)),
        "not symmetric, not isometric": Case((g,), {"isometric": False}),
        "NaN below the diagonal": Case((below,)),
        "NaN reaches": Case((above,)),
        "empty batch": Case((g[:0],)),
        "one channel": Case((g[:, :1, :1],)),
    }


def smooth(dtype: str) -> list[Case]:
    return [Case((normal(dtype, 2, 3, 3),), {"isometric": one}) for one in (True, False)]


def output_shape(case: Case) -> tuple[int, ...]:
    n, c, _ = case.arrays[0].shape
    return (n, c * (c + 1) // 2)


def forward(case: Case, acc: str) -> Bounded:
    (g,) = case.upcast()
    return bounds.half_vectorize(bounds.exact(g), acc, **case.options)


def vjp(case: Case, cotangent: np.ndarray, acc: str) -> list[Bounded]:
    ct = bounds.exact(cotangent.astype(np.longdouble))
    return [bounds.half_vectorize_vjp(ct, case.arrays[0].shape[-1], acc, **case.options)]


__all__ = ["cases", "cotangents", "edges", "forward", "output_shape", "smooth", "vjp"]
