"""`bilinear_pool`: the bounds of its three steps, chained."""

import numpy as np
from hypothesis import strategies as st

from .. import bounds
from ..bounds import Bounded
from ..cases import Case, cotangents, pooling_cases, pooling_edges, pooling_smooth
from . import outer_pool
from .l2_normalize import FLOORS
from .signed_sqrt import EPS


@st.composite
def cases(draw, dtype: str) -> Case:
    """Full or packed descriptors. Other forms of root and norm are drawn for their operators."""
    case = draw(pooling_cases(dtype, {"eps": EPS, "l2_eps": FLOORS}))
    packed = len(case.arrays) == 1 and draw(st.booleans())
    return Case(case.arrays, case.options | ({"packed": True} if packed else {}))


def edges(dtype: str) -> dict[str, Case]:
    plain = pooling_edges(dtype)
    dead = plain["non-square"].arrays[0].copy()
    dead[..., 1] = 0
    caffe = {"reduction": "sum", "eps": 0.0, "slope_eps": 0.03, "norm": "added", "l2_eps": 1e-7}
    return plain | {
        "dead channel without eps": Case((dead,), {"eps": 0.0}),
        "below the floor": Case((dead,), {"l2_eps": 1e3}),
        "packed": Case((dead,), {"packed": True}),
        "packed, published form": Case((dead,), {"packed": True} | caffe),
        "packed, shifted root": Case((dead,), {"packed": True, "root": "shifted"}),
        "packed, empty batch": Case((dead[:0],), {"packed": True}),
        "published slope at a dead channel": Case((dead,), caffe),
        "unsigned root of features >= 0": Case((abs(dead),), {"root": "unsigned", "eps": 1e-5}),
    }


def smooth(dtype: str) -> list[Case]:
    plain = pooling_smooth(dtype)
    forms = {"packed": True, "root": "shifted", "eps": 1e-2, "norm": "added", "l2_eps": 0.5}
    return [*plain, Case(plain[0].arrays, {"packed": True}), Case(plain[0].arrays, forms)]


def output_shape(case: Case) -> tuple[int, ...]:
    n, c, d = outer_pool.output_shape(case)
    return (n, c * (c + 1) // 2 if case.options.get("packed") else c * d)


def forward(case: Case, acc: str) -> Bounded:
    return bounds.l2_normalize(_flat(case, _roots(case, acc)[1], acc), *_norm(case, acc))


def vjp(case: Case, cotangent: np.ndarray, acc: str) -> list[Bounded]:
    return vjp_inexact(case, bounds.exact(cotangent.astype(np.longdouble)), acc)


def vjp_inexact(case: Case, ct: Bounded, acc: str) -> list[Bounded]:
    """The gradients for an inexact cotangent."""
    g, s = _roots(case, acc)
    h = bounds.l2_normalize_vjp(ct, _flat(case, s, acc), *_norm(case, acc))
    if case.options.get("packed"):
        h = bounds.half_vectorize_vjp(h, g.value.shape[-1], acc)
    h = Bounded(*(part.reshape(g.value.shape) for part in h))
    slope_eps = case.options.get("slope_eps")
    h = bounds.signed_sqrt_vjp(h, g, _eps(case), acc, _root(case), slope_eps)
    return outer_pool.vjp_inexact(case, h, acc)


def _roots(case: Case, acc: str) -> tuple[Bounded, Bounded]:
    g = outer_pool.forward(case, acc)
    return g, bounds.signed_sqrt(g, _eps(case), acc, _root(case))


def _flat(case: Case, s: Bounded, acc: str) -> Bounded:
    if case.options.get("packed"):
        return bounds.half_vectorize(s, acc)
    return Bounded(*(part.reshape(output_shape(case)) for part in s))


def _eps(case: Case) -> float:
    return case.options.get("eps", 1e-10)


def _root(case: Case) -> str:
    return case.options.get("root", "signed")


def _norm(case: Case, acc: str) -> tuple[float, str, str]:
    return case.options.get("l2_eps", 1e-12), acc, case.options.get("norm", "floor")


__all__ = ["cases", "cotangents", "edges", "forward", "output_shape", "smooth", "vjp"]
