"""The upper triangle of symmetric matrices as vectors."""

import jax
import jax.numpy as jnp
import numpy as np

from ...contract.pooling import check_half_vectorize, packed_size
from ._arrays import ArrayLike, flatten_matrices, round_to, spec, upcast


def half_vectorize(g: ArrayLike, *, isometric: bool = True) -> jax.Array:
    """Return the entries on and above the diagonal, row by row.

    Args:
        g: matrices (N, C, C); C must be known when traced, N may be symbolic.
        isometric: multiply entries above the diagonal by √2, which preserves inner products.

    Returns: Array (N, C(C+1)/2).
    Cost: time and memory N·C(C+1)/2, the gradient N·C².
    Specification: `bilinear.reference.half_vectorize`.
    """
    check_half_vectorize(spec("half_vectorize", "g", g), isometric)
    return round_to(g, half_vectorize_unchecked(jnp.asarray(g), isometric))


def half_vectorize_unchecked(g: jax.Array, isometric: bool) -> jax.Array:
    packed = upper_triangle(g)
    return scale_off_diagonal(packed, g.shape[1]) if isometric else packed


@jax.custom_jvp
def upper_triangle(g: jax.Array) -> jax.Array:
    """Entries (c, d), c <= d, in the accumulation dtype. `g` may have fewer rows than columns."""
    _, rows, channels = g.shape
    row, column = np.triu_indices(rows, m=channels)
    entries = row * channels + column
    flat = flatten_matrices(g)
    return upcast(flat.at[:, entries].get(unique_indices=True, indices_are_sorted=True))


@upper_triangle.defjvp
def _upper_triangle_jvp(primals, tangents):
    return upper_triangle(*primals), pack_triangles(upcast(*tangents), 1)[:, 0]


def pack_triangles(matrices: jax.Array, count: int) -> jax.Array:
    """The upper triangle, and for a `count` of 2 the lower one too: (N, count, C(C+1)/2).

    The second triangle is 0 on the diagonal. A scatter, because its transpose is a gather: the
    opposite takes ten times as long on a CPU. Indices as constants would be held between the
    passes.
    """
    samples, channels = matrices.shape[:2]
    size = packed_size(channels)
    row, column = (jax.lax.broadcasted_iota("int32", (channels, channels), i) for i in (0, 1))
    low, high = jnp.minimum(row, column), jnp.maximum(row, column)
    index = low * (2 * channels - low - 1) // 2 + high + jnp.where(row > column, size, 0)
    flat = flatten_matrices(matrices)
    # sharded like the matrices, which a mesh with explicit axes requires
    zeros = jnp.broadcast_to(jnp.zeros_like(flat[:, :1]), (samples, count * size))
    entries = zeros.at[:, index.ravel()].add(flat, mode="drop", unique_indices=True)
    return entries.reshape(samples, count, size)


def scale_off_diagonal(packed: jax.Array, channels: int) -> jax.Array:
    """Packed entries, those from above the diagonal times √2."""
    row, column = np.triu_indices(channels)
    return packed * np.where(row == column, 1, 2**0.5).astype(packed.dtype)[None]
