"""The upper triangle of symmetric matrices as vectors."""

import jax
import jax.numpy as jnp
import numpy as np

from ...contract.pooling import check_half_vectorize, packed_size
from ._arrays import ArrayLike, spec, wide


def half_vectorize(g: ArrayLike, *, isometric: bool = True) -> jax.Array:
    """The entries on and above the diagonal, row by row: ``h = (w_cd · g[c, d] for c <= d)``.

    ``w_cd`` is 1 on the diagonal and, above it, √2 if `isometric` and 1 if not. With √2, inner
    products and norms of symmetric matrices are those of their vectors.

    Shapes: g (N, C, C) -> (N, C(C+1)/2), of pairs (0, 0), (0, 1) … (0, C-1), (1, 1) … C is a
        number when traced; N may be symbolic.
    Gradient: ``w_cd · γ`` on and above the diagonal, 0 below it.
    Edges: what is below the diagonal is never read, NaN included. Half types are multiplied in
        float32.
    Cost: time, memory and output N·C(C+1)/2, the gradient N·C².
    Raises: ValueError and TypeError as `bilinear.contract.pooling.check_half_vectorize`.
    Source: Magnus, Neudecker, SIAM J. Algebraic and Discrete Methods 1, 1980 (``vech``).
    """
    check_half_vectorize(spec("half_vectorize", "g", g), isometric)
    g = jnp.asarray(g)
    return halved(g, isometric).astype(g.dtype)


def halved(g: jax.Array, isometric: bool) -> jax.Array:
    """The unchecked formula, in the accumulation dtype."""
    return weighed(upper(g), g.shape[1]) if isometric else upper(g)


@jax.custom_jvp
def upper(g: jax.Array) -> jax.Array:
    """The entries, in the accumulation dtype; of the first rows only, where g has no more."""
    samples, rows, channels = g.shape
    row, column = np.triu_indices(rows, m=channels)
    flat = g.reshape(samples, rows * channels)  # explicit sizes: N may be 0
    entries = row * channels + column
    return wide(jnp.take(flat, entries, axis=1, unique_indices=True, indices_are_sorted=True))


@upper.defjvp
def _upper_jvp(primals, tangents):
    return upper(*primals), triangles(wide(*tangents), 1)[:, 0]


def triangles(matrices: jax.Array, count: int) -> jax.Array:
    """The entries (c, d), and with a `count` of 2 then (d, c), for c <= d, (N, count, C(C+1)/2).

    The diagonal is in the first triangle, the second has zeros in its place.

    A scatter, because its transpose, which is what the reverse mode runs, then is a gather: the
    other way round it would be a scatter, that takes ten times as long on a CPU. The places are
    computed, as a constant would be held between the passes.
    """
    samples, channels = matrices.shape[:2]
    size = packed_size(channels)
    row, column = (jax.lax.broadcasted_iota("int32", (channels, channels), i) for i in (0, 1))
    low, high = jnp.minimum(row, column), jnp.maximum(row, column)
    places = low * (2 * channels - low - 1) // 2 + high + jnp.where(row > column, size, 0)
    flat = matrices.reshape(samples, channels * channels)
    zeros = jnp.zeros((samples, count * size), matrices.dtype)
    entries = zeros.at[:, places.ravel()].add(flat, mode="drop", unique_indices=True)
    return entries.reshape(samples, count, size)


def weighed(packed: jax.Array, channels: int) -> jax.Array:
    """√2 times the entries that stood above the diagonal."""
    row, column = np.triu_indices(channels)
    return packed * np.where(row == column, 1, 2**0.5).astype(packed.dtype)[None]
