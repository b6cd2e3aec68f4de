"""Compact bilinear pooling by a tensor sketch."""

import jax
import jax.numpy as jnp

from ...contract.sketches import SketchReduction, SketchTables, check_entries, check_tensor_sketch
from ._arrays import ArrayLike, specs, wide
from .outer_pool import keep, pooled


def tensor_sketch(
    x: ArrayLike,
    y: ArrayLike | None = None,
    *,
    tables: SketchTables,
    mask: ArrayLike | None = None,
    reduction: SketchReduction = "mean",
) -> jax.Array:
    """Count the products of all pairs of channels in dim bins, with signs, and pool.

    ``out[n,k] = Σ s1[c] s2[d] G[n,c,d]`` over the pairs with ``(h1[c] + h2[d]) mod dim = k``,
    where G is the pooled outer product; for ``"none"`` that of each location, whose sketch is
    the circular convolution of the count sketches of x and y.

    Shapes: x (N, L, C), y (N, L, D), mask (N, L) boolean -> (N, dim), or (N, L, dim) for "none".
        dim is static: as an argument of a transformed function, `tables` cannot hold it.
    Gradient: ``∂x[l,c] = (s1[c] / Z) Σ_d s2[d] γ[(h1[c] + h2[d]) mod dim] y[l,d]``, likewise of y;
        for one stream their sum. The tables have none.
    Edges: a masked location enters nothing, NaN included, and its gradient is 0; a sample without
        a location kept gives 0. A NaN at a location kept makes the whole sketch NaN, and one in a
        cotangent the gradient at all locations kept (for "none" of its location). Half types are
        computed in float32.
    Cost: pooled, N·L·C·D time and N·C·D memory: one matrix product, which is faster than
        Fourier transforms at every location, and holds less. For "none"
        N·L·(C + D + dim log dim) time and N·L·dim memory, by such transforms.
    Raises: ValueError and TypeError as `bilinear.contract.sketches.check_tensor_sketch`; entries
        are checked where the tables are NumPy arrays.
    Source: Pham and Pagh, KDD 2013; Gao, Beijbom, Zhang, Darrell, CVPR 2016, algorithm 2.
    """
    op = "tensor_sketch"
    check_tensor_sketch(*specs(op, x, y, mask), reduction, tables)
    check_entries(op, tables)
    x = jnp.asarray(x)
    return sketched(x, y, tables, mask, reduction).astype(x.dtype)


def sketched(
    x: ArrayLike,
    y: ArrayLike | None,
    tables: SketchTables,
    mask: ArrayLike | None,
    reduction: SketchReduction,
) -> jax.Array:
    """The unchecked formula, in the accumulation dtype."""
    (h1, s1, h2, s2), dim = map(jnp.asarray, tables[:4]), tables.dim
    if reduction == "none":
        kept = None if mask is None else jnp.asarray(mask)
        x_kept = keep(wide(jnp.asarray(x)), kept)
        y_kept = x_kept if y is None else keep(wide(jnp.asarray(y)), kept)
        a, b = counted(x_kept, h1, s1, dim), counted(y_kept, h2, s2, dim)
        return jnp.fft.irfft(jnp.fft.rfft(a) * jnp.fft.rfft(b), dim)
    g = pooled(x, y, mask, reduction)
    g = g.reshape(g.shape[0], g.shape[1] * g.shape[2])  # explicit sizes: N may be 0
    bins = (h1[:, None] + h2[None, :]) % dim
    signs = s1.astype(g.dtype)[:, None] * s2.astype(g.dtype)[None, :]
    out = counted(g, bins.ravel(), signs.ravel(), dim)
    return out + jnp.sum(0.0 * out, -1, keepdims=True)  # one NaN fills all, of a cotangent too


def counted(x: jax.Array, h: jax.Array, s: jax.Array, dim: int) -> jax.Array:
    """The count sketch over the last axis: what falls into one bin is added."""
    signs = s.astype(x.dtype).reshape(*[1] * (x.ndim - 1), s.shape[0])
    terms = jnp.moveaxis(x * signs, -1, 0)
    return jnp.moveaxis(jax.ops.segment_sum(terms, h, dim), 0, -1)
