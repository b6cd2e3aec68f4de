"""Compact bilinear pooling by random Maclaurin features."""

import numpy as np

from ..contract.sketches import (
    MaclaurinTables,
    SketchReduction,
    check_entries,
    check_random_maclaurin,
)
from ._arrays import Array, round_to, spec, upcast
from .outer_pool import _divisor, _select


def random_maclaurin(
    x: Array,
    y: Array | None = None,
    *,
    tables: MaclaurinTables,
    mask: Array | None = None,
    reduction: SketchReduction = "mean",
) -> Array:
    """Pool products of random signed sums of the channels.

    ``out[n,k] = (1/√dim) Σ_cd w1[c,k] w2[d,k] G[n,c,d]`` where G is the pooled outer product: the
    pooled ``(w1ᵀ x ∘ w2ᵀ y) / √dim``. ⟨out(x), out(y)⟩ is an unbiased estimate of ⟨G(x), G(y)⟩.
    ``"none"`` does not pool: each location has its own features.

    Args:
        x: features of the first stream, (N, L, C).
        y: features of the second stream, (N, L, D); None is one stream, y = x. Default None.
        tables: `MaclaurinTables`, as `maclaurin_tables` draws them.
        mask: boolean, (N, L), True at valid locations; None is all. Default None.
        reduction: ``"mean"``, ``"sum"``, or ``"none"``, which does not pool. Default ``"mean"``.

    Returns:
        Features (N, dim), or (N, L, dim) for ``"none"``, in the dtype of x.

    Shape:
        x (N, L, C), y (N, L, D), mask (N, L) boolean -> (N, dim), or (N, L, dim) for "none".

    Gradient:
        ``∂x[l] = w1 (γ ∘ w2ᵀ y[l]) / (Z √dim)`` and ``∂y[l] = w2 (γ ∘ w1ᵀ x[l]) / (Z √dim)``. For
        one stream, the gradient is their sum. The tables have no gradient.
        A location where the mask is False does not contribute, even if it is NaN; its gradient is
        0, and for "none" its features are 0. A sample without valid locations gives 0. A NaN at a
        valid location makes the whole result NaN, and a NaN in a cotangent makes the gradient NaN
        at all valid locations. For "none", it spreads only within its location.

    Raises:
        ValueError and TypeError as in `outer_pool`, and for tables for another number of channels
        or of unequal dims, or signs that are not ±1.

    Example:
        >>> random_maclaurin(np.ones((2, 49, 8)), tables=maclaurin_tables(8, None, 16)).shape
        (2, 16)

    References:
        Kar and Karnick, "Random Feature Maps for Dot Product Kernels", AISTATS 2012, algorithm 1,
        of degree 2; pooled by Gao, Beijbom, Zhang, Darrell, CVPR 2016, algorithm 1.
    """
    check_random_maclaurin(spec(x), spec(y), spec(mask), reduction, tables)
    check_entries("random_maclaurin", tables)
    return round_to(_random_maclaurin(upcast(x), upcast(y), tables, mask, reduction), x)


def random_maclaurin_vjp(
    cotangent: Array,
    x: Array,
    y: Array | None = None,
    *,
    tables: MaclaurinTables,
    mask: Array | None = None,
    reduction: SketchReduction = "mean",
) -> tuple[Array, ...]:
    """Gradient of ``⟨cotangent, random_maclaurin(x, y)⟩``: (∂x,), or (∂x, ∂y) for two streams."""
    check_random_maclaurin(spec(x), spec(y), spec(mask), reduction, tables)
    check_entries("random_maclaurin", tables)
    gradients = _random_maclaurin_vjp(
        upcast(cotangent), upcast(x), upcast(y), tables, mask, reduction
    )
    return tuple(round_to(gradient, x) for gradient in gradients)


def _random_maclaurin(x, y, tables, mask, reduction):
    xs, ys = _select(x, mask), _select(x if y is None else y, mask)
    if reduction != "none":
        g = np.einsum("nlc,nld->ncd", xs, ys) / _divisor(x, mask, reduction)
    else:
        g = np.einsum("nlc,nld->nlcd", xs, ys)
    w1, w2, scale = _signs(tables, x)
    return np.einsum("ck,dk,...cd->...k", w1, w2, g) / scale


def _random_maclaurin_vjp(ct, x, y, tables, mask, reduction):
    xs, ys = _select(x, mask), _select(x if y is None else y, mask)
    w1, w2, scale = _signs(tables, x)
    g = np.einsum("ck,dk,...k->...cd", w1, w2, ct) / scale
    if reduction != "none":
        g = (g / _divisor(x, mask, reduction))[:, None]
    dx = _select((g * ys[..., None, :]).sum(-1), mask)
    dy = _select((g * xs[..., :, None]).sum(-2), mask)
    return (dx + dy,) if y is None else (dx, dy)


def _signs(tables, x):
    """w1, w2 and √dim, in the precision of x."""
    dtype = x.real.dtype
    w1, w2 = tables
    return w1.astype(dtype), w2.astype(dtype), np.sqrt(np.asarray(w1.shape[1], dtype))
