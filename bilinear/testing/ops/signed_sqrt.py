"""`signed_sqrt`: random cases, singular points, error bounds."""

import numpy as np
from hypothesis import strategies as st

from .. import bounds
from ..bounds import Bounded
from ..cases import DTYPES, Case, away_from_zero, cotangents, features

EPS = st.sampled_from([1e-10, 0.0, 1e-5, 0.25])
FORMS = st.one_of(
    st.fixed_dictionaries({"eps": EPS}),
    st.fixed_dictionaries({"eps": EPS, "root": st.just("shifted")}),
    st.sampled_from([{"eps": 1e-5, "root": "unsigned"}, {"eps": 0.0, "slope_eps": 0.03}]),
)


@st.composite
def cases(draw, dtype: str) -> Case:
    shape = draw(st.sampled_from([(4,), (2, 3), (0,), (), (1, 2, 2)]))
    g, options = draw(features(dtype, shape)), draw(FORMS)
    g = np.asarray(np.abs(g)) if options.get("root") == "unsigned" else g
    return Case((g,), options)


def edges(dtype: str) -> dict[str, Case]:
    info = np.array([0.0, -0.0, 1.0, -1.0, 2.0**-14, -(2.0**-14), 6e4, -6e4])
    g = info.astype(DTYPES[dtype])
    nan = np.array([np.nan, 1.0, 0.0]).astype(DTYPES[dtype])
    tiny = {"float64": 1e-20, "float32": 1e-12}.get(dtype, 2.0**-14)
    small = np.array([tiny, -tiny], DTYPES[dtype])  # a difference of two roots would cancel
    return {
        "both zeros": Case((g,)),
        "both zeros without eps": Case((g,), {"eps": 0.0}),
        "NaN stays": Case((nan,)),
        "both zeros, shifted": Case((g,), {"root": "shifted", "eps": 1e-5}),
        "small beside eps, shifted": Case((small,), {"root": "shifted", "eps": 1e-5}),
        "both zeros, shifted without eps": Case((g,), {"root": "shifted", "eps": 0.0}),
        "NaN stays, shifted": Case((nan,), {"root": "shifted"}),
        "unsigned is NaN below -eps": Case((g,), {"root": "unsigned", "eps": 1e-5}),
        "both zeros with a published slope": Case((g,), {"eps": 0.0, "slope_eps": 0.1}),
        "NaN stays with a published slope": Case((nan,), {"eps": 0.0, "slope_eps": 0.1}),
    }


def smooth(dtype: str) -> list[Case]:
    g = away_from_zero(dtype, 2, 3, 4)
    forms = {"eps": 1e-2, "root": "shifted"}, {"eps": 1e-2, "root": "unsigned"}
    return [Case((g,), {"eps": 1e-10}), *(Case((abs(g),), options) for options in forms)]


def output_shape(case: Case) -> tuple[int, ...]:
    return case.arrays[0].shape


def forward(case: Case, acc: str) -> Bounded:
    (g,), eps = case.upcast(), case.options.get("eps", 1e-10)
    return bounds.signed_sqrt(bounds.exact(g), eps, acc, case.options.get("root", "signed"))


def vjp(case: Case, cotangent: np.ndarray, acc: str) -> list[Bounded]:
    (g,), eps = case.upcast(), case.options.get("eps", 1e-10)
    ct = bounds.exact(cotangent.astype(np.longdouble))
    forms = {k: v for k, v in case.options.items() if k != "eps"}
    return [bounds.signed_sqrt_vjp(ct, bounds.exact(g), eps, acc, **forms)]


__all__ = ["cases", "cotangents", "edges", "forward", "output_shape", "smooth", "vjp"]
