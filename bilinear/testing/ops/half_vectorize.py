"""`half_vectorize`: random cases, singular points, error bounds."""

import numpy as np
from hypothesis import strategies as st

from ..bounds import Bounded, gamma
from ..cases import Case, features, normal


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


def forward(case: Case, acc: str) -> Bounded:
    (g,) = case.bounded()
    c, d = np.triu_indices(g.shape[-1])
    return _scale_off_diagonal(g.map(lambda part: part[:, c, d]), case, acc)


def vjp(case: Case, ct: Bounded, acc: str) -> list[Bounded]:
    """The cotangent of each pair is scaled by the same weights."""
    c, d = np.triu_indices(case.arrays[0].shape[-1])
    full = Bounded(*(np.zeros(case.arrays[0].shape, np.longdouble) for _ in range(2)))
    full.value[:, c, d], full.error[:, c, d] = _scale_off_diagonal(ct, case, acc)
    return [full]


def _scale_off_diagonal(h: Bounded, case: Case, acc: str) -> Bounded:
    """√2 and the product with it are rounded."""
    c, d = np.triu_indices(case.arrays[0].shape[-1])
    above = (c < d) & case.options["isometric"]
    w = np.where(above, np.sqrt(np.longdouble(2)), 1)
    rounded = np.where(above, gamma(2, acc) * w * (np.abs(h.value) + h.error), 0)
    return Bounded(w * h.value, w * h.error + rounded)
