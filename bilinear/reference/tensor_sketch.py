"""Compact bilinear pooling by a tensor sketch."""

import numpy as np

from ..contract.sketches import SketchReduction, SketchTables, check_entries, check_tensor_sketch
from ._arrays import Array, round_to, spec, upcast
from .outer_pool import _divisor, _select


def tensor_sketch(
    x: Array,
    y: Array | None = None,
    *,
    tables: SketchTables,
    mask: Array | None = None,
    reduction: SketchReduction = "mean",
) -> Array:
    """Sum the signed products of all pairs of channels in dim bins, and pool.

    ``out[n,k] = Σ s1[c] s2[d] G[n,c,d]`` over the pairs with ``(h1[c] + h2[d]) mod dim = k``,
    where G is the pooled outer product. It is the circular convolution of the count sketches of x
    and y, and ⟨out(x), out(y)⟩ is an unbiased estimate of ⟨G(x), G(y)⟩. ``"none"`` does not pool:
    each location has its own sketch.

    Args:
        x: features of the first stream, (N, L, C).
        y: features of the second stream, (N, L, D); None is one stream, y = x. Default None.
        tables: `SketchTables`, as `sketch_tables` draws them.
        mask: boolean, (N, L), True at valid locations; None is all. Default None.
        reduction: ``"mean"``, ``"sum"``, or ``"none"``, which does not pool. Default ``"mean"``.

    Returns:
        Sketches (N, dim), or (N, L, dim) for ``"none"``, in the dtype of x.

    Shape:
        x (N, L, C), y (N, L, D), mask (N, L) boolean -> (N, dim), or (N, L, dim) for "none".

    Gradient:
        ``∂x[l,c] = (s1[c] / Z) Σ_d s2[d] γ[(h1[c] + h2[d]) mod dim] y[l,d]``, and ∂y has the same
        form. For one stream, the gradient is their sum. The tables have no gradient.
        A location where the mask is False does not contribute, even if it is NaN; its gradient is
        0, and for "none" its sketch is 0. A sample without valid locations gives 0. A Fourier
        transform spreads NaN: a NaN at a valid location makes the whole sketch NaN, and a NaN in a
        cotangent makes the gradient NaN at all valid locations. For "none", it spreads only within
        its location.

    Raises:
        ValueError and TypeError as in `outer_pool`, and for tables for another number of channels,
        hashes beyond dim, signs that are not ±1, or a dim that is not a positive Python int.

    Example:
        >>> tensor_sketch(np.ones((2, 49, 8)), tables=sketch_tables(8, None, 16)).shape
        (2, 16)

    References:
        Pham and Pagh, "Fast and Scalable Polynomial Kernels via Explicit Feature Maps", KDD 2013,
        section 3; pooled by Gao, Beijbom, Zhang, Darrell, "Compact Bilinear Pooling", CVPR 2016,
        algorithm 2 (there with sum pooling).
    """
    check_tensor_sketch(spec(x), spec(y), spec(mask), reduction, tables)
    check_entries("tensor_sketch", tables)
    return round_to(_tensor_sketch(upcast(x), upcast(y), tables, mask, reduction), x)


def tensor_sketch_vjp(
    cotangent: Array,
    x: Array,
    y: Array | None = None,
    *,
    tables: SketchTables,
    mask: Array | None = None,
    reduction: SketchReduction = "mean",
) -> tuple[Array, ...]:
    """Gradient of ``⟨cotangent, tensor_sketch(x, y)⟩``: (∂x,), or (∂x, ∂y) for two streams."""
    check_tensor_sketch(spec(x), spec(y), spec(mask), reduction, tables)
    check_entries("tensor_sketch", tables)
    gradients = _tensor_sketch_vjp(upcast(cotangent), upcast(x), upcast(y), tables, mask, reduction)
    return tuple(round_to(gradient, x) for gradient in gradients)


def _tensor_sketch(x, y, tables, mask, reduction):
    xs, ys = _select(x, mask), _select(x if y is None else y, mask)
    bins, signs = _pairs(tables)
    products = xs[..., :, None] * ys[..., None, :]
    if reduction != "none":
        products = products.sum(1) / _divisor(x, mask, reduction)
    out = np.zeros((*products.shape[:-2], tables.dim), products.dtype)
    for pair in np.ndindex(bins.shape):
        out[..., bins[pair]] += signs[pair] * products[..., *pair]
    return _spread(out)


def _tensor_sketch_vjp(ct, x, y, tables, mask, reduction):
    xs, ys = _select(x, mask), _select(x if y is None else y, mask)
    bins, signs = _pairs(tables)
    z = 1 if reduction == "none" else _divisor(x, mask, reduction)
    g = signs * _spread(ct)[..., bins]  # the cotangent of every product
    g = g if reduction == "none" else g[:, None] / np.reshape(z, (-1, 1, 1, 1))
    dx = _select((g * ys[..., None, :]).sum(-1), mask)
    dy = _select((g * xs[..., :, None]).sum(-2), mask)
    return (dx + dy,) if y is None else (dx, dy)


def _pairs(tables):
    """The bin and the sign of each pair of channels, (C, D)."""
    bins = (tables.h1[:, None] + tables.h2[None, :]) % tables.dim
    return bins, tables.s1[:, None].astype(np.int64) * tables.s2[None, :].astype(np.int64)


def _spread(sketch):
    """One NaN fills its sketch."""
    return np.where(np.isnan(sketch).any(-1, keepdims=True), np.nan, sketch)
