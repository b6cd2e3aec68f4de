"""Compact bilinear pooling by a tensor sketch."""

import jax
import jax.numpy as jnp

from ...contract.sketches import SketchReduction, SketchTables, check_entries, check_tensor_sketch
from ._arrays import ArrayLike, flatten_matrices, round_to, select_streams, specs
from .outer_pool import outer_pool_unchecked


def tensor_sketch(
    x: ArrayLike,
    y: ArrayLike | None = None,
    *,
    tables: SketchTables,
    mask: ArrayLike | None = None,
    reduction: SketchReduction = "mean",
) -> jax.Array:
    """Sum the signed products of all pairs of channels in dim bins, and pool.

    Args:
        x: features (N, L, C).
        y: features (N, L, D) of the second stream; None means y = x.
        tables: of `sketch_tables`; entries of NumPy arrays are checked. dim is a static int, so
            `tables` cannot be an argument of a transformed function.
        mask: boolean (N, L); only locations where it is True are pooled. None pools all.
        reduction: ``"mean"``, ``"sum"``, or ``"none"``, which does not pool.

    Returns: Array (N, dim), or (N, L, dim) for ``"none"``.
    Cost: time N·L·C·D and memory N·C·D for one matrix product, which is faster and smaller than
        Fourier transforms at every location. For ``"none"``, time N·L·(C + D + dim log dim) and
        memory N·L·dim.
    Specification: `bilinear.reference.tensor_sketch`.
    """
    op = "tensor_sketch"
    check_tensor_sketch(*specs(op, x, y, mask), reduction, tables)
    check_entries(op, tables)
    return round_to(x, tensor_sketch_unchecked(x, y, tables, mask, reduction))


def tensor_sketch_unchecked(x, y, tables, mask, reduction) -> jax.Array:
    (h1, s1, h2, s2), dim = map(jnp.asarray, tables[:4]), tables.dim
    if reduction == "none":
        x, y = select_streams(x, y, mask)
        a, b = _count_sketches(x, h1, s1, dim), _count_sketches(y, h2, s2, dim)
        return jnp.fft.irfft(jnp.fft.rfft(a) * jnp.fft.rfft(b), dim)
    g = flatten_matrices(outer_pool_unchecked(x, y, mask, reduction))
    bins = (h1[:, None] + h2[None, :]) % dim
    signs = s1.astype(g.dtype)[:, None] * s2.astype(g.dtype)[None, :]
    out = _count_sketch(g, bins.ravel(), signs.ravel(), dim)
    # One NaN fills the whole sketch, and one in a cotangent the whole gradient.
    return out + jnp.sum(0.0 * out, -1, keepdims=True)


def _count_sketch(x: jax.Array, h: jax.Array, s: jax.Array, dim: int) -> jax.Array:
    """The count sketch over the last axis: entries of one bin are added."""
    signs = s.astype(x.dtype).reshape(*[1] * (x.ndim - 1), s.shape[0])
    terms = jnp.moveaxis(x * signs, -1, 0)
    # The bins are sharded like the terms, unlike those of `jax.ops.segment_sum`: a mesh with
    # explicit axes requires it.
    bins = jax.lax.broadcast(jnp.zeros_like(terms[0]), [dim])
    return jnp.moveaxis(bins.at[h].add(terms, mode="drop", wrap_negative_indices=False), 0, -1)


def _count_sketches(x: jax.Array, h: jax.Array, s: jax.Array, dim: int) -> jax.Array:
    """The same by adding along the last axis, because XLA transposes no sharded input of an FFT."""
    bins = jnp.broadcast_to(jnp.zeros_like(x[..., :1]), (*x.shape[:-1], dim))
    terms = x * s.astype(x.dtype)
    return bins.at[..., h].add(terms, mode="drop", wrap_negative_indices=False)
