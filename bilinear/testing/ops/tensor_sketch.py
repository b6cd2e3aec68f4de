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

import functools
from collections.abc import Callable

import numpy as np
from hypothesis import strategies as st

from ...backends.initial_values import sketch_tables
from ...contract.sketches import SketchTables
from ..bounds import Bounded, gamma, products, select_locations, sum_if_one_stream
from ..cases import Case, pooling_cases, pooling_edges, pooling_smooth
from ..tolerances import UNIT_ROUNDOFF
from .outer_pool import unpack

REDUCTIONS = st.sampled_from(["mean", "sum", "none"])


def draw_tables(draw: Callable, case: Case, dim: int, seed: int = 0) -> Case:
    """Return the case with tables for its channels."""
    c, d = case.arrays[0].shape[2], case.arrays[-1].shape[2]
    return Case(case.arrays, case.options | {"tables": draw(c, d, dim, seed)})


with_tables = functools.partial(draw_tables, sketch_tables)


@st.composite
def cases(draw, dtype: str) -> Case:
    case = draw(pooling_cases(dtype, {"reduction": REDUCTIONS}))
    return with_tables(case, draw(st.sampled_from([4, 5, 1])), draw(st.integers(0, 9)))


def sketch_edges(dtype: str, draw: Callable, *, dim: int, dim_not_pooled: int) -> dict[str, Case]:
    """Return the singular points of a sketch whose tables `draw` draws."""
    plain = pooling_edges(dtype)
    masked, one_nan = plain["NaN behind the mask of two"], plain["NaN reaches"].arrays
    not_pooled = Case(masked.arrays, masked.options | {"reduction": "none"})
    return {name: draw_tables(draw, case, dim) for name, case in plain.items()} | {
        "not pooled": draw_tables(draw, not_pooled, dim_not_pooled),
        "NaN at one location": draw_tables(draw, Case(one_nan, {"reduction": "none"}), 4),
    }


def edges(dtype: str) -> dict[str, Case]:
    points = sketch_edges(dtype, sketch_tables, dim=5, dim_not_pooled=6)
    together = SketchTables(np.full(3, 2), np.ones(3), np.full(2, 3), -np.ones(2), 4)
    return points | {"all in one bin": Case(points["non-square"].arrays, {"tables": together})}


def smooth(dtype: str) -> list[Case]:
    one, two, _ = pooling_smooth(dtype)
    few = SketchTables(np.array([0, 1, 0, 1]), np.ones(4), np.array([0, 0, 1, 1]), np.ones(4), 2)
    apart = Case(two.arrays, two.options | {"reduction": "none"})
    return [Case(one.arrays, one.options | {"tables": few}), with_tables(apart, 5)]


def forward(case: Case, acc: str) -> Bounded:
    (a, _, size_a), (b, _, size_b), z, e = _steps(case, acc)
    value = np.einsum("nlj,nlkj->nlk", a, _circulant(b))
    size = size_a * size_b
    if case.options["reduction"] != "none":
        value, size = value.sum(1) / z, size.sum(1) / z
    error = e * size + transform(value.shape[-1], acc) * _norm(value)
    return Bounded(value, np.broadcast_to(error, value.shape))


def vjp(case: Case, ct: Bounded, acc: str) -> list[Bounded]:
    (a, to_a, size_a), (b, to_b, size_b), z, e = _steps(case, acc)
    if case.options["reduction"] != "none":
        ct = ct.map(lambda part: (part / z)[:, None])
    length = _norm(np.abs(ct.value) + ct.error)
    x, y, _ = unpack(case)

    def gradient(other, size, features, to_other, matrix) -> Bounded:
        convolved = np.einsum("nlk,nlkj->nlj", ct.value + 0 * other, _circulant(other))
        absolute = np.abs(features) @ np.abs(to_other)
        carried = np.einsum("nlk,nlkj->nlj", ct.error + 0 * absolute, _circulant(absolute))
        error = carried @ np.abs(matrix).T + e * length * size
        error = error + transform(other.shape[-1], acc) * _norm(convolved)
        error = np.where(np.isnan(error), np.inf, error)  # 0 · inf
        return select_locations(Bounded(convolved @ matrix.T, error), case.options["mask"])

    gradients = gradient(b, size_b, y, to_b, to_a), gradient(a, size_a, x, to_a, to_b)
    return sum_if_one_stream(case.arrays, *gradients, rounding=gamma(1, acc))


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
    x, y, z = unpack(case)
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
    return *streams, z[..., 0], max(e, direct)


def _norm(v):
    return np.sqrt(np.sum(v * v, axis=-1, keepdims=True))


def _circulant(b):
    """Return ``b[(k − j) mod n]`` as a matrix over k and j."""
    n = b.shape[-1]
    return b[..., (np.arange(n)[:, None] - np.arange(n)) % n]
