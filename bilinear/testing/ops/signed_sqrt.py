"""`signed_sqrt`: random cases, singular points, error bounds."""

import numpy as np
from hypothesis import strategies as st

from ..bounds import Bounded, gamma, nan_to_inf
from ..cases import DTYPES, Case, away_from_zero, features

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


def forward(case: Case, acc: str) -> Bounded:
    """The root is monotone, so that the root of an inexact g lies between those of its two ends.

    This also holds near 0, where the sign is uncertain and the value jumps by 2√eps. Rounding eps,
    adding it and taking the root are 3 roundings; √eps, the sum and the quotient of the shifted
    root are 3 more. The rounding of eps matters where the unsigned g + eps cancels.
    """
    (g,), options = case.bounded(), case.options
    value, off = _root(g.value, options), g.error + _error_of_eps(options, acc)
    above = _root(g.value + off, options) - value
    below = value - _root(g.value - off, options)
    error = nan_to_inf(np.maximum(above, below), value)
    roundings = 6 if options["root"] == "shifted" else 3
    return Bounded(value, error + gamma(roundings, acc) * np.abs(value))


def vjp(case: Case, ct: Bounded, acc: str) -> list[Bounded]:
    """``slope(g) · ct``; the slope decreases in |g|, except that it is 0 at exactly 0.

    The derivative of the shifted form's quotient is a sum of two terms with about ten roundings
    each, at most twice and once as large as the slope.
    """
    (g,), options = case.bounded(), case.options
    slope_eps = options["slope_eps"]

    def f(size):
        with np.errstate(divide="ignore", invalid="ignore"):
            if slope_eps is not None:
                return 0.5 / (np.sqrt(size) + slope_eps)
            return 0.5 / np.sqrt(size + options["eps"])

    even = options["root"] != "unsigned"
    jumps = even and slope_eps is None
    size, off = np.abs(g.value) if even else g.value, g.error + _error_of_eps(options, acc)
    slope = np.where(jumps & (size == 0), 0, f(size))
    steepest = f(np.maximum(size - off, 0) if even else size - off)
    flattest = np.where(jumps & (size <= off), 0, f(size + off))
    error = np.where(off > 0, np.maximum(steepest - slope, slope - flattest), 0)
    roundings = 30 if options["root"] == "shifted" else 4
    error = nan_to_inf(error, slope) + gamma(roundings, acc) * slope
    value = slope * ct.value
    with np.errstate(invalid="ignore"):
        carried = np.abs(slope) * ct.error + error * (np.abs(ct.value) + ct.error)
    carried = nan_to_inf(carried, value)  # 0 · inf
    return [Bounded(value, carried + gamma(1, acc) * (np.abs(value) + carried))]


def _root(g, options):
    eps, root = options["eps"], options["root"]
    with np.errstate(invalid="ignore"):
        if root == "unsigned":
            return np.sqrt(g + eps)
        magnitude = np.sqrt(np.abs(g) + eps)
        if root == "signed":
            return np.sign(g) * magnitude
        return g / np.where(g == 0, 1, magnitude + eps**0.5)


def _error_of_eps(options, acc):
    """Error of ``g + eps`` by the rounding of eps, where g may be negative."""
    return gamma(1, acc) * options["eps"] if options["root"] == "unsigned" else 0.0
