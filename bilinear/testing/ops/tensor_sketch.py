"""`tensor_sketch`: draws, hard points, and a bound for transforms instead of sums.

A backend convolves the sketches a and b of a location by Fourier transforms F of length n = dim.
Their errors are normwise (Higham, section 24.1): a computed F v is off by at most ε ‖F v‖₂ in norm,
with ``ε = Σ ε_p`` over the prime factors p of n. For p = 2, theorem 24.2 has ε_p = μ + γ₄ (√2 + μ),
below 7 u for weights correct to u. A stage of an odd p, summed as it is written, costs
γ_(p+3) √p, since ‖|F_p|‖₂ = p = √p ‖F_p‖₂, and one more complex product by a weight.
Primes from 17 on go through a longer power of two in most libraries (Bluestein, Rader); no test
has one, for the constant would be several times as large.

The sketch itself is a sum of at most m terms in a bin, off by γ_m A where A is the norm of the
sketch of |x| with all signs +. As ‖F a‖₂ = √n ‖a‖₂, Cauchy and Schwarz give the transform of the
pooled convolution, by the sum of its components' errors over n, which bounds every component of
its inverse,

    (2 (ε + γ_m) + γ_(L + 8)) Σ_l A_l B_l / Z,

with the roundings of complex products, of the sum over L locations, of Z and of 1 / n in γ. The
inverse adds ε ‖out‖₂. The gradient has a cotangent in place of one of the sketches. A backend may
as well sum the pairs of a bin directly: together they are at most A B, so the roundings of such
sums stand in place of the brackets where they are more.
"""

import numpy as np
from hypothesis import strategies as st

from ...backends.initial_values import sketch_tables
from ...contract.sketches import SketchTables
from ..bounds import Bounded, exact, gamma, products
from ..cases import Case, cotangents, pooled_cases, pooled_edges, pooled_smooth
from ..tolerances import UNIT_ROUNDOFF
from .outer_pool import unpack

REDUCTIONS = st.sampled_from(["mean", "sum", "none"])


@st.composite
def cases(draw, dtype: str) -> Case:
    case = draw(pooled_cases(dtype, {"reduction": REDUCTIONS}))
    return sketched(case, draw(st.sampled_from([4, 5, 1])), draw(st.integers(0, 9)))


def edges(dtype: str) -> dict[str, Case]:
    plain = pooled_edges(dtype)
    hard = {name: sketched(case, 5) for name, case in plain.items()}
    (x, y), (nan,) = plain["non-square"].arrays, plain["NaN reaches"].arrays
    masked = plain["NaN behind the mask of two"]
    together = SketchTables(np.full(3, 2), np.ones(3), np.full(2, 3), -np.ones(2), 4)
    return hard | {
        "not pooled": sketched(Case(masked.arrays, masked.options | {"reduction": "none"}), 6),
        "NaN at one location": sketched(Case((nan,), {"reduction": "none"}), 4),
        "all in one bin": Case((x, y), {"tables": together}),
    }


def smooth(dtype: str) -> list[Case]:
    one, two, _ = pooled_smooth(dtype)
    few = SketchTables(np.array([0, 1, 0, 1]), np.ones(4), np.array([0, 0, 1, 1]), np.ones(4), 2)
    apart = Case(two.arrays, two.options | {"reduction": "none"})
    return [Case(one.arrays, one.options | {"tables": few}), sketched(apart, 5)]


def sketched(case: Case, dim: int, seed: int = 0) -> Case:
    """The case with tables for its channels."""
    c, d = case.arrays[0].shape[2], case.arrays[-1].shape[2]
    return Case(case.arrays, case.options | {"tables": sketch_tables(c, d, dim, seed)})


def output_shape(case: Case) -> tuple[int, ...]:
    samples, locations, _ = case.arrays[0].shape
    apart = case.options.get("reduction") == "none"
    return (samples, *([locations] if apart else []), case.options["tables"].dim)


def forward(case: Case, acc: str) -> Bounded:
    (a, _, size_a), (b, _, size_b), z, e = _steps(case, acc)
    value = np.einsum("nlj,nlkj->nlk", a, _shifted(b))
    size = size_a * size_b
    if case.options.get("reduction") != "none":
        value, size = value.sum(1) / z, size.sum(1) / z
    error = e * size + transform(value.shape[-1], acc) * _norm(value)
    return Bounded(value, np.broadcast_to(error, value.shape))


def vjp(case: Case, cotangent: np.ndarray, acc: str) -> list[Bounded]:
    return sketched_vjp(case, exact(cotangent.astype(np.longdouble)), acc)


def sketched_vjp(case: Case, ct: Bounded, acc: str) -> list[Bounded]:
    """Of a cotangent that is inexact itself."""
    (a, to_a, size_a), (b, to_b, size_b), z, e = _steps(case, acc)
    if case.options.get("reduction") != "none":
        ct = Bounded((ct.value / z)[:, None], (ct.error / z)[:, None])
    length = _norm(np.abs(ct.value) + ct.error)
    keep, x, y = case.options.get("mask"), case.wide()[0], case.wide()[-1]

    def along(other, size, features, to_other, matrix) -> Bounded:
        convolved = np.einsum("nlk,nlkj->nlj", ct.value + 0 * other, _shifted(other))
        absolute = np.abs(_kept(features, keep)) @ np.abs(to_other)
        carried = np.einsum("nlk,nlkj->nlj", ct.error + 0 * absolute, _shifted(absolute))
        error = carried @ np.abs(matrix).T + e * length * size
        error = error + transform(other.shape[-1], acc) * _norm(convolved)
        error = np.where(np.isnan(error), np.inf, error)  # 0 · inf: no promise
        return Bounded(_kept(convolved @ matrix.T, keep), _kept(error, keep))

    dx, dy = along(b, size_b, y, to_b, to_a), along(a, size_a, x, to_a, to_b)
    if len(case.arrays) == 2:
        return [dx, dy]
    rounding = gamma(1, acc) * (np.abs(dx.value) + np.abs(dy.value))
    return [Bounded(dx.value + dy.value, dx.error + dy.error + rounding)]


def transform(n: int, acc: str) -> float:
    """ε, of one Fourier transform of length n."""
    u, total, p = UNIT_ROUNDOFF[acc], 0.0, 2
    while n > 1:
        if n % p:
            p += 1
            continue
        assert p < 17, f"no error is derived for the prime factor {p}"
        total += 7 * u if p == 2 else gamma(p + 3, acc) * p**0.5 + 4 * u
        n //= p
    return total


def _steps(case: Case, acc: str):
    """Of each stream its sketches, their matrix (C, dim) and A; then Z, and what multiplies A B."""
    x, y, keep, z = unpack(case)
    tables: SketchTables = case.options["tables"]
    n, most = tables.dim, 1
    streams = []
    for v, h, s in ((x, tables.h1, tables.s1), (y, tables.h2, tables.s2)):
        matrix = np.zeros((len(h), n), np.longdouble)
        matrix[np.arange(len(h)), h] = s
        kept, most = _kept(v, keep), max(most, np.bincount(h).max())
        size = np.linalg.norm((np.abs(kept) @ np.abs(matrix)).astype(np.float64), axis=-1)
        streams.append((kept @ matrix, matrix, size[..., None]))
    e = 2 * (transform(n, acc) + gamma(int(most), acc)) + gamma(x.shape[1] + 8, acc)
    pairs = np.bincount(((tables.h1[:, None] + tables.h2) % n).ravel()).max()
    direct = products(max(x.shape[1], 2 * max(x.shape[2], y.shape[2])) + int(pairs) + 4, acc)
    return *streams, np.reshape(z, (-1, 1)), max(e, direct)


def _norm(v):
    return np.sqrt(np.sum(v * v, axis=-1, keepdims=True))


def _shifted(b):
    """``b[(k − j) mod n]`` as a matrix over k and j."""
    n = b.shape[-1]
    return b[..., (np.arange(n)[:, None] - np.arange(n)) % n]


def _kept(v, keep):
    return v if keep is None else np.where(keep[:, :, None], v, 0)


__all__ = ["cases", "cotangents", "edges", "forward", "output_shape", "smooth", "vjp"]
