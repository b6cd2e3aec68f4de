"""`matrix_sqrt`: random cases, singular points, error bounds."""

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from .. import spectral
from ..bounds import Bounded
from ..cases import DTYPES, Case, normal
from ..linearization import Roundings, propagate

OPTIONS: list[dict[str, Any]] = [
    {},
    {"steps": 2, "normalize": "frobenius"},
    {"method": "eigen"},
    {"method": "eigen", "tol": 2.0**-10},
]
MATMUL = "...ij,...jk->...ik"


@st.composite
def cases(draw, dtype: str) -> Case:
    """Gram matrices of small integers, exact in every dtype, some singular or not symmetric."""
    n, channels = draw(st.sampled_from([1, 2, 0])), draw(st.sampled_from([1, 3]))
    integers = st.integers(-2, 2)
    x = draw(
        hnp.arrays(np.int64, (n, draw(st.sampled_from([1, 2, 5])), channels), elements=integers)
    )
    a = np.einsum("nlc,nld->ncd", x, x)
    if draw(st.booleans()):
        part = draw(hnp.arrays(np.int64, a.shape, elements=integers))
        a = a + part - part.swapaxes(1, 2)
    scale = 2.0 ** draw(st.sampled_from([0, -5, 5] if "16" in dtype else [0, -20, 20]))
    return Case(((a * scale).astype(DTYPES[dtype]),), draw(st.sampled_from(OPTIONS)))


def edges(dtype: str) -> dict[str, Case]:
    full, eigen = _definite(dtype), {"method": "eigen"}
    zero, nan, mixed = np.zeros_like(full), full.copy(), full.copy()
    nan[0, 1, 2] = np.nan
    mixed[1] = 0
    diagonal = np.array([np.diag(d) for d in ([4, 4, 4], [9, 4, 0])])
    flat = np.array([[[1, 2, 3], [2, 4, 6], [3, 6, 9]], [[1, 1, 0], [1, 2, 1], [0, 1, 1]]])
    single = np.array([[[4]], [[0]]])
    return {
        "non-square": Case((full,)),  # named so that the battery compiles it first
        "all zero": Case((zero,), eigen),
        "NaN reaches": Case((nan,), eigen),
        "equal eigenvalues and zeros": Case((diagonal.astype(full.dtype),), eigen),
        "one zero matrix": Case((mixed,), {"normalize": "frobenius", "steps": 2}),
        "negative trace": Case((-100 * full,)),
        "one zero matrix, trace": Case((mixed,), {"steps": 1}),
        "NaN in the iteration": Case((nan,)),
        "less than full rank": Case((flat.astype(full.dtype),), {**eigen, "tol": 1e-3}),
        "one channel": Case((single.astype(full.dtype),), eigen),
        "empty batch": Case((full[:0],)),
    }


def smooth(dtype: str) -> list[Case]:
    return [Case((_definite(dtype),)), Case((_definite(dtype),), {"method": "eigen"})]


def forward(case: Case, acc: str) -> Bounded:
    given, (a,) = case.options, case.bounded()
    if given["method"] == "eigen":
        return spectral.root(a, given["tol"], acc)

    return value_and_error(lambda r, a: iterated_root(r, a, given), [a], acc)


def vjp(case: Case, ct: Bounded, acc: str) -> list[Bounded]:
    given, (a,) = case.options, case.bounded()
    if given["method"] == "eigen":
        return [spectral.root_vjp(ct, a, given["tol"], acc)]

    return [value_and_error(lambda r, ct, a: iterated_root_vjp(r, ct, a, given), [ct, a], acc)]


def iterated_root(r: Roundings, a, given: dict[str, Any]):
    """The root of `a` by Newton–Schulz steps, with its roundings."""
    a = r(_symmetric(a))
    s, dead = scale(r, a, given["normalize"])
    *_, (y, _, _) = iterate(r, r(np.where(dead, 0, a) / s, 2), given["steps"])
    return np.where(dead, 0 * a, r(r(np.sqrt(s), 1) * y))


def iterated_root_vjp(r: Roundings, ct, a, given: dict[str, Any]):
    """The gradient of `iterated_root`, with its roundings."""
    a, ct = r(_symmetric(a)), r(_symmetric(ct))
    s, dead = scale(r, a, given["normalize"])
    *history, (root, _, _) = iterate(r, r(np.where(dead, 0, a) / s, 2), given["steps"])
    dy = iterate_back(r, history, r(r(np.sqrt(s)) * ct), np.zeros(ct.shape))
    return np.where(dead, 0 * ct, scale_back(r, dy, a, s, r.sum(r(ct * root), 2), given))


def value_and_error(program, operands: list[Bounded], acc: str) -> Bounded:
    """Compute the value in extended precision, and its error bound in float64."""
    with np.errstate(invalid="ignore"):
        value = program(Roundings(acc), *(b.value for b in operands))
        narrow = [b.map(lambda part: part.astype(np.float64)) for b in operands]
        error = propagate(program, narrow, acc).error  # type: ignore[union-attr]
    return Bounded(value, error.astype(np.longdouble))


def iterate(r: Roundings, y, steps: int):
    """Return (Y, Z, T) of each step, then those after the last; products with Z = I are exact."""
    identity = np.eye(y.shape[-1])
    z, history = 0 * y + identity, []
    for step in range(steps):
        zy = y if step == 0 else r.einsum(MATMUL, z, y)
        t = r(1.5 * identity - 0.5 * zy)
        history.append((y, z, t))
        y, z = r.einsum(MATMUL, y, t), t if step == 0 else r.einsum(MATMUL, t, z)
    return [*history, (y, z, None)]


def iterate_back(r: Roundings, history, dy, dz):
    """Return the gradient of the first Y, from those of the last Y and Z."""
    for y, z, t in reversed(history):
        dt = r(r.einsum(MATMUL, _t(y), dy) + r.einsum(MATMUL, dz, _t(z)))
        dzy = -dt / 2
        dy, dz = (
            r(r.einsum(MATMUL, dy, _t(t)) + r.einsum(MATMUL, _t(z), dzy)),
            r(r.einsum(MATMUL, _t(t), dz) + r.einsum(MATMUL, dzy, _t(y))),
        )
    return dy


def scale_back(r: Roundings, dy, a, s, outer, given: dict[str, Any]):
    """Return the gradient of `a`, from those of a/s and √s."""
    ds = r(r(outer / (2 * np.sqrt(s)), 3) - r(r.sum(r(dy * a), 2) / (s * s), 3))
    slope = np.eye(a.shape[-1]) if given["normalize"] == "trace" else a / s
    return r(r(dy / s, 2) + r(ds * slope, 3))


def scale(r: Roundings, a, normalize: str):
    if normalize == "trace":
        square = r.sum(np.einsum("...ii->...i", a)[..., None, :])
    else:
        square = r.sum(r(a * a), 2)
    dead = np.real(square) <= 0
    s = np.where(dead, 1, square)
    return (s if normalize == "trace" else r(np.sqrt(s))), dead


def _definite(dtype: str) -> np.ndarray:
    """Return matrices with eigenvalues of at least 1, plus an antisymmetric part."""
    x, part = normal("float64", 2, 5, 3, seed=3), normal("float64", 2, 3, 3, seed=4)
    a = np.einsum("nlc,nld->ncd", x, x) / 2 + np.eye(3) + (part - part.swapaxes(1, 2)) / 4
    return a.astype(DTYPES[dtype])


def _symmetric(a):
    return (a + _t(a)) / 2


def _t(a):
    return a.swapaxes(-1, -2)
