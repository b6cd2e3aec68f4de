"""`tensor_sketch`: random cases, singular points, error bounds of Fourier transforms.

A backend convolves the sketches a and b of a location by Fourier transforms F of length n = dim.
Their errors are normwise (Higham, section 24.1): a computed F v is off by at most ε ‖F v‖₂ in norm,
with ``ε = Σ ε_p`` over the prime factors p of n. For p = 2, theorem 24.2 has ε_p = μ + γ₄ (√2 + μ),
below 7 u for weights correct to u. A stage of an odd p, computed as a plain sum, costs
γ_(p+3) √p, since ‖|F_p|‖₂ = p = √p ‖F_p‖₂, and one more complex product with a weight.
Most libraries compute primes from 17 on with a longer power of two (Bluestein, Rader). Their
constant would be several times as large, and no test uses such a length.

The sketch itself is a sum of at most m terms in a bin. It errs by γ_m A, where A is the norm of the
sketch of |x| with all signs +. Since ‖F a‖₂ = √n ‖a‖₂, the Cauchy-Schwarz inequality bounds the
error of every component of the pooled convolution by

    (2 (ε + γ_m) + γ_(L + 8)) Σ_l A_l B_l / Z.

The roundings of complex products, of the sum over L locations, of Z and of 1 / n are in γ. The
inverse transform adds ε ‖out‖₂. In the gradient, a cotangent replaces one of the sketches. A
backend may also sum the pairs of a bin directly. These sums are at most A B, and their roundings
replace the factor in parentheses where they are larger.
"""

import numpy as np
from hypothesis import strategies as st

from ...backends.initial_values import sketch_tables
from ...contract.sketches import SketchTables
from ..bounds import Bounded, exact, gamma, products, select_locations
from ..cases import Case, cotangents, pooling_cases, pooling_edges, pooling_smooth
from ..tolerances import UNIT_ROUNDOFF
from .outer_pool import unpack

REDUCTIONS = st.sampled_from(["mean", "sum", "none"])


@st.composite
def cases(draw, dtype: str) -> Case:
    case = draw(pooling_cases(dtype, {"reduction": REDUCTIONS}))
    return with_tables(case, draw(st.sampled_from([4, 5, 1])), draw(st.integers(0, 9)))


def edges(dtype: str) -> dict[str, Case]:
    plain = pooling_edges(dtype)
    points = {name: with_tables(case, 5) for name, case in plain.items()}
    (x, y), (nan,) = plain["non-square"].arrays, plain["NaN reaches"].arrays
    masked = plain["NaN behind the mask of two"]
    together = SketchTables(np.full(3, 2), np.ones(3), np.full(2, 3), -np.ones(2), 4)
    return points | {
        "not pooled": with_tables(Case(masked.arrays, masked.options | {"reduction": "none"}), 6),
        "NaN at one location": with_tables(Case((nan,), {"reduction": "none"}), 4),
        "all in one bin": Case((x, y), {"tables": together}),
    }


def smooth(dtype: str) -> list[Case]:
    one, two, _ = pooling_smooth(dtype)
    few = SketchTables(np.array([0, 1, 0, 1]), np.ones(4), np.array([0, 0, 1, 1]), np.ones(4), 2)
    apart = Case(two.arrays, two.options | {"reduction": "none"})
    return [Case(one.arrays, one.options | {"tables": few}), with_tables(apart, 5)]


def with_tables(case: Case, dim: int, seed: int = 0) -> Case:
    """Return the case with tables for its channels."""
    c, d = case.arrays[0].shape[2], case.arrays[-1].shape[2]
    return Case(case.arrays, case.options | {"tables": sketch_tables(c, d, dim, seed)})


def output_shape(case: Case) -> tuple[int, ...]:
    samples, locations, _ = case.arrays[0].shape
    apart = case.options.get("reduction") == "none"
    return (samples, *([locations] if apart else []), case.options["tables"].dim)


def forward(case: Case, acc: str) -> Bounded:
    (a, _, size_a), (b, _, size_b), z, e = _steps(case, acc)
    value = np.einsum("nlj,nlkj->nlk", a, _circulant(b))
    size = size_a * size_b
    if case.options.get("reduction") != "none":
        value, size = value.sum(1) / z, size.sum(1) / z
    error = e * size + transform(value.shape[-1], acc) * _norm(value)
    return Bounded(value, np.broadcast_to(error, value.shape))


def vjp(case: Case, cotangent: np.ndarray, acc: str) -> list[Bounded]:
    return vjp_inexact(case, exact(cotangent.astype(np.longdouble)), acc)


def vjp_inexact(case: Case, ct: Bounded, acc: str) -> list[Bounded]:
    """The gradients for an inexact cotangent."""
    (a, to_a, size_a), (b, to_b, size_b), z, e = _steps(case, acc)
    if case.options.get("reduction") != "none":
        ct = Bounded((ct.value / z)[:, None], (ct.error / z)[:, None])
    length = _norm(np.abs(ct.value) + ct.error)
    keep, x, y = case.options.get("mask"), case.upcast()[0], case.upcast()[-1]

    def along(other, size, features, to_other, matrix) -> Bounded:
        convolved = np.einsum("nlk,nlkj->nlj", ct.value + 0 * other, _circulant(other))
        absolute = np.abs(select_locations(features, keep)) @ np.abs(to_other)
        carried = np.einsum("nlk,nlkj->nlj", ct.error + 0 * absolute, _circulant(absolute))
        error = carried @ np.abs(matrix).T + e * length * size
        error = error + transform(other.shape[-1], acc) * _norm(convolved)
        error = np.where(np.isnan(error), np.inf, error)  # 0 · inf
        return Bounded(select_locations(convolved @ matrix.T, keep), select_locations(error, keep))

    dx, dy = along(b, size_b, y, to_b, to_a), along(a, size_a, x, to_a, to_b)
    if len(case.arrays) == 2:
        return [dx, dy]
    rounding = gamma(1, acc) * (np.abs(dx.value) + np.abs(dy.value))
    return [Bounded(dx.value + dy.value, dx.error + dy.error + rounding)]


def transform(n: int, acc: str) -> float:
    """Return ε of a Fourier transform of length n."""
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
    """Return sketches, matrix (C, dim) and A for each stream, then Z and the factor of A B."""
    x, y, keep, z = unpack(case)
    x, y = select_locations(x, keep), select_locations(y, keep)
    tables: SketchTables = case.options["tables"]
    n, most = tables.dim, 1
    streams = []
    for v, h, s in ((x, tables.h1, tables.s1), (y, tables.h2, tables.s2)):
        matrix = np.zeros((len(h), n), np.longdouble)
        matrix[np.arange(len(h)), h] = s
        most = max(most, np.bincount(h).max())
        size = np.linalg.norm((np.abs(v) @ np.abs(matrix)).astype(np.float64), axis=-1)
        streams.append((v @ matrix, matrix, size[..., None]))
    e = 2 * (transform(n, acc) + gamma(int(most), acc)) + gamma(x.shape[1] + 8, acc)
    pairs = np.bincount(((tables.h1[:, None] + tables.h2) % n).ravel()).max()
    direct = products(max(x.shape[1], 2 * max(x.shape[2], y.shape[2])) + int(pairs) + 4, acc)
    return *streams, np.reshape(z, (-1, 1)), max(e, direct)


def _norm(v):
    return np.sqrt(np.sum(v * v, axis=-1, keepdims=True))


def _circulant(b):
    """Return ``b[(k − j) mod n]`` as a matrix over k and j."""
    n = b.shape[-1]
    return b[..., (np.arange(n)[:, None] - np.arange(n)) % n]


__all__ = ["cases", "cotangents", "edges", "forward", "output_shape", "smooth", "vjp"]
