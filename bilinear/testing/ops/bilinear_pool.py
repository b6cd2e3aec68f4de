"""`bilinear_pool`: the bounds of its three steps, chained."""

import numpy as np

from .. import bounds
from ..bounds import Bounded
from ..cases import Case, cotangents, pooled_cases, pooled_edges, pooled_smooth
from . import outer_pool
from .l2_normalize import FLOORS
from .signed_sqrt import EPS

smooth = pooled_smooth


def cases(dtype: str):
    return pooled_cases(dtype, {"eps": EPS, "l2_eps": FLOORS})


def edges(dtype: str) -> dict[str, Case]:
    plain = pooled_edges(dtype)
    dead = plain["non-square"].arrays[0].copy()
    dead[..., 1] = 0
    return plain | {
        "dead channel without eps": Case((dead,), {"eps": 0.0}),
        "below the floor": Case((dead,), {"l2_eps": 1e3}),
    }


def output_shape(case: Case) -> tuple[int, ...]:
    n, c, d = outer_pool.output_shape(case)
    return (n, c * d)


def forward(case: Case, acc: str) -> Bounded:
    _, s = _steps(case, acc)
    return bounds.l2_normalize(s, _l2_eps(case), acc)


def vjp(case: Case, cotangent: np.ndarray, acc: str) -> list[Bounded]:
    g, s = _steps(case, acc)
    ct = bounds.l2_normalize_vjp(cotangent.astype(np.longdouble), s, _l2_eps(case), acc)
    h = bounds.signed_sqrt_vjp(ct, g, _eps(case), acc)
    shape = outer_pool.output_shape(case)
    return outer_pool.pooled_vjp(case, Bounded(h.value.reshape(shape), h.error.reshape(shape)), acc)


def _steps(case: Case, acc: str) -> tuple[Bounded, Bounded]:
    pooled = outer_pool.forward(case, acc)
    shape = output_shape(case)
    g = Bounded(pooled.value.reshape(shape), pooled.error.reshape(shape))
    return g, bounds.signed_sqrt(g, _eps(case), acc)


def _eps(case: Case) -> float:
    return case.options.get("eps", 1e-10)


def _l2_eps(case: Case) -> float:
    return case.options.get("l2_eps", 1e-12)


__all__ = ["cases", "cotangents", "edges", "forward", "output_shape", "smooth", "vjp"]
