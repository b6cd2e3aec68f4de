"""`l2_normalize`: random cases, singular points, error bounds."""

import numpy as np
from hypothesis import strategies as st

from .. import bounds
from ..bounds import Bounded
from ..cases import DTYPES, Case, away_from_zero, cotangents, features, normal

NORMS = st.sampled_from(["floor", "added"])
FLOORS = st.sampled_from([1e-12, 1e-6, 0.5, 2.0**-20])


@st.composite
def cases(draw, dtype: str) -> Case:
    shape = draw(st.sampled_from([(2, 3), (4,), (0, 3), (1, 2, 5), (2, 1)]))
    return Case((draw(features(dtype, shape)),), {"eps": draw(FLOORS), "norm": draw(NORMS)})


def edges(dtype: str) -> dict[str, Case]:
    z = normal(dtype, 3, 4)
    z[1] = 0
    nan = z.copy()
    nan[0, 1] = np.nan
    at_floor = np.array([[0.5, 0.0], [0.25, 0.0], [0.75, 0.0]]).astype(DTYPES[dtype])
    short = np.array([[1e-6, 2e-6]]).astype(DTYPES[dtype])
    return {
        "zero vector": Case((z,)),
        "NaN fills its vector": Case((nan,)),
        "at the floor": Case((at_floor,), {"eps": 0.5}),
        "zero vector, eps added": Case((z,), {"norm": "added", "eps": 1e-7}),
        "NaN fills its vector, eps added": Case((nan,), {"norm": "added"}),
        "floor on the norm, not on its square": Case((short,)),
    }


def smooth(dtype: str) -> list[Case]:
    z = away_from_zero(dtype, 2, 3, 4)
    added = Case((z,), {"eps": 0.5, "norm": "added"})
    return [*(Case((z,), {"eps": eps}) for eps in (1e-12, 1e3)), added]


def output_shape(case: Case) -> tuple[int, ...]:
    return case.arrays[0].shape


def forward(case: Case, acc: str) -> Bounded:
    (z,), eps, norm = _read(case)
    return bounds.l2_normalize(bounds.exact(z), eps, acc, norm)


def vjp(case: Case, cotangent: np.ndarray, acc: str) -> list[Bounded]:
    (z,), eps, norm = _read(case)
    ct = bounds.exact(cotangent.astype(np.longdouble))
    return [bounds.l2_normalize_vjp(ct, bounds.exact(z), eps, acc, norm)]


def _read(case: Case):
    return case.upcast(), case.options.get("eps", 1e-12), case.options.get("norm", "floor")


__all__ = ["cases", "cotangents", "edges", "forward", "output_shape", "smooth", "vjp"]
