"""`covariance_sqrt`: random cases, singular points, error bounds.

The root may be computed from the C × C covariance or, if L < C, from the L × L Gram matrix. The
bound of Newton–Schulz steps is the larger one of both algorithms. That of the exact root holds for
both: an error E of the Gram matrix changes the root by ``V [(Uᵀ E U) ∘ K] Vᵀ`` with orthonormal U
and V, exactly as an error of the covariance does (`spectral.py`).
"""

import functools
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from .. import spectral
from ..bounds import Bounded, divisor, select_locations
from ..cases import (
    DTYPES,
    REDUCTIONS,
    SMOOTH_VALID,
    VALID,
    Case,
    normal,
    options_and_mask,
    with_nan,
)
from ..linearization import Roundings
from . import covariance_pool
from .matrix_sqrt import (
    MATMUL,
    OPTIONS,
    iterate,
    iterate_back,
    iterated_root,
    iterated_root_vjp,
    scale,
    scale_back,
    value_and_error,
)

PLAIN = {"center": False, "reduction": "sum", "normalize": "frobenius"}
EIGEN = {"method": "eigen", "tol": 2.0**-10}


@st.composite
def cases(draw, dtype: str) -> Case:
    """Small integers, so that a covariance is exactly 0 or not, and often singular."""
    n, channels = draw(st.sampled_from([1, 2, 0])), draw(st.sampled_from([1, 3]))
    shape = n, draw(st.sampled_from([1, 2, 5])), channels
    x = draw(hnp.arrays(np.int64, shape, elements=st.integers(-2, 2)))
    scale = 2.0 ** draw(st.sampled_from([0, -5, 5] if "16" in dtype else [0, -20, 20]))
    options = draw(options_and_mask(shape[:2], reduction=REDUCTIONS, center=st.booleans()))
    return Case(((x * scale).astype(DTYPES[dtype]),), draw(st.sampled_from(OPTIONS)) | options)


def edges(dtype: str) -> dict[str, Case]:
    x = normal(dtype, 2, 4, 5)
    hidden, nan = with_nan(x)
    far = (x.astype(np.float64) * 2.0**-3 + 4).astype(x.dtype)
    signs = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1]]) / 2  # orthonormal
    small = (np.array([[4], [2], [0.25]]) * signs)[None].astype(x.dtype)
    twice = x[:, [0, 1, 1]]
    return {
        "non-square": Case((x,), {"steps": 3}),  # named so that the battery compiles it first
        "NaN behind the mask of two": Case((hidden,), {"mask": VALID, **PLAIN, "steps": 2}),
        "all zero": Case((np.zeros_like(x),), EIGEN),
        "NaN reaches": Case((nan,), {"steps": 2}),
        "more locations than channels": Case((x[:, :, :3],)),
        "masked, more locations than channels": Case((hidden[:, :, :3],), {"mask": VALID}),
        "NaN reaches the exact root": Case((nan,), EIGEN),
        "more locations than channels, exact": Case((x[:, :, :3],), {"method": "eigen"}),
        "masked, exact": Case((hidden,), {"mask": VALID, **EIGEN}),
        "an eigenvalue below tol": Case((small,), {**PLAIN, "method": "eigen", "tol": 2.0**-5}),
        "two equal locations": Case((twice,), {"center": False, **EIGEN}),
        "equal locations only": Case((np.ones_like(x),), {"steps": 2}),
        "far from 0": Case((far,), {"steps": 2}),
        "single location": Case((x[:, :1],), {"steps": 2}),
        "single location, not centered": Case((x[:, :1],), {**PLAIN, "steps": 1}),
        "empty batch": Case((x[:0],)),
    }


def smooth(dtype: str) -> list[Case]:
    """Return cases of one shape, with fewer locations than channels."""
    x = normal(dtype, 2, 3, 4, seed=3)
    return [
        Case((x,)),
        Case((x,), EIGEN),
        Case((x,), {"reduction": "sum", "steps": 1}),  # from the covariance
        Case((x,), {**PLAIN, "mask": SMOOTH_VALID, "steps": 3}),
    ]


def forward(case: Case, acc: str) -> Bounded:
    if case.options["method"] == "eigen":
        return spectral.root(_covariance(case, acc), case.options["tol"], acc)
    return _larger(case, [_by_covariance, _by_gram], case.bounded(), acc)


def vjp(case: Case, ct: Bounded, acc: str) -> list[Bounded]:
    if case.options["method"] == "eigen":
        da = spectral.root_vjp(ct, _covariance(case, acc), case.options["tol"], acc)

        def program(r: Roundings, da, x):
            return _through_covariance(r, da, *_center(r, x, case), case)

        return [value_and_error(program, [da, *case.bounded()], acc)]
    return [_larger(case, [_by_covariance_vjp, _by_gram_vjp], [ct, *case.bounded()], acc)]


def _larger(case: Case, algorithms: list, inputs: list[Bounded], acc: str) -> Bounded:
    """Return the value, and the larger bound of the algorithms that a backend may choose."""
    locations, channels = case.arrays[0].shape[1:]
    possible = algorithms if locations < channels else algorithms[:1]
    bounds = [value_and_error(functools.partial(a, case=case), inputs, acc) for a in possible]
    return Bounded(bounds[0].value, functools.reduce(np.maximum, [b.error for b in bounds]))


def _covariance(case: Case, acc: str) -> Bounded:
    def program(r: Roundings, x):
        return _second_moment(r, "...lc,...ld->...cd", *_center(r, x, case))

    return value_and_error(program, case.bounded(), acc)


def _by_covariance(r: Roundings, x, *, case: Case):
    a = _second_moment(r, "...lc,...ld->...cd", *_center(r, x, case))
    return iterated_root(r, a, case.options)


def _by_covariance_vjp(r: Roundings, ct, x, *, case: Case):
    x, z = _center(r, x, case)
    a = _second_moment(r, "...lc,...ld->...cd", x, z)
    return _through_covariance(r, iterated_root_vjp(r, ct, a, case.options), x, z, case)


def _by_gram(r: Roundings, x, *, case: Case):
    x, z = _center(r, x, case)
    weights, *_ = _weights(r, x, z, case.options)
    return r.einsum("...lc,...ld->...cd", x, r.einsum(MATMUL, weights, x))


def _by_gram_vjp(r: Roundings, ct, x, *, case: Case):
    given, (x, z) = case.options, _center(r, x, case)
    weights, history, g, s, dead = _weights(r, x, z, given)
    xct = r.einsum(MATMUL, x, r(ct + ct.swapaxes(-1, -2)))
    dweights = r.einsum("...lc,...mc->...lm", xct, x) / 2
    inverse = np.where(dead, 0, history[-1][1])
    dy = iterate_back(r, history[:-1], np.zeros(g.shape), r(dweights / (np.sqrt(s) * z), 4))
    outer = -r.sum(r(dweights * inverse / z, 3), 2) / s  # of √s in the divisor of the weights
    dg = np.where(dead, 0, scale_back(r, dy, g, s, outer, given))
    direct = r.einsum(MATMUL, weights, xct)
    dx = r(direct + r(2 * r.einsum(MATMUL, dg, x) / z, 2))
    return _uncenter(r, dx, case)


def _weights(r: Roundings, x, z, given: dict[str, Any]):
    """Return q(G)/Z, so that the root is ``xᵀ (q(G)/Z) x``, and what led to it."""
    g = _second_moment(r, "...lc,...mc->...lm", x, z)
    s, dead = scale(r, g, given["normalize"])
    history = iterate(r, r(np.where(dead, 0, g) / s, 2), given["steps"])
    weights = r(np.where(dead, 0, history[-1][1]) / (np.sqrt(s) * z), 4)
    return weights, history, g, s, dead


def _center(r: Roundings, x, case: Case):
    """Return the features, centered or not, with 0 at masked locations, and the divisor Z."""
    keep = case.options["mask"]
    z = divisor(case.arrays[0], keep, case.options["reduction"])[..., None]
    if not case.options["center"]:
        return select_locations(x, keep), z
    return covariance_pool.center(r, [x], case)[0], z


def _second_moment(r: Roundings, rule: str, x, z):
    return r(r.einsum(rule, x, x) / z, 2)


def _through_covariance(r: Roundings, da, x, z, case: Case):
    dx = r(2 * r.einsum("...cd,...ld->...lc", r(da / z, 2), x))
    return _uncenter(r, dx, case)


def _uncenter(r: Roundings, dx, case: Case):
    keep = case.options["mask"]
    if case.options["center"]:
        dx = covariance_pool.subtract_mean(r, dx, keep, covariance_pool.count(case))
    return select_locations(dx, keep)
