"""Bilinear pooling in the Python array API standard: a backend that is not ours.

It stands for any backend somebody else writes, and uses nothing of this project:
`examples/test_array_api.py` holds it to the specification.
"""

import math

import array_api_strict as xp


def outer_pool(x, y=None, *, mask=None, reduction="mean"):
    """``(1/Z) Σ_l x_l y_lᵀ`` over the locations kept."""
    keep = xp.ones(x.shape[:2], dtype=xp.bool) if mask is None else mask
    x, y = (xp.where(keep[:, :, None], a, xp.zeros_like(a)) for a in (x, x if y is None else y))
    g = xp.matmul(xp.matrix_transpose(x), y)
    if reduction == "sum":
        return g
    kept = xp.sum(xp.astype(keep, g.dtype), axis=1)
    return g / xp.maximum(kept, xp.ones_like(kept))[:, None, None]


def signed_sqrt(g, *, eps=1e-10):
    """``sign(g) √(|g| + eps)``."""
    return xp.sign(g) * xp.sqrt(xp.abs(g) + eps)


def l2_normalize(z, *, eps=1e-12):
    """``z / max(‖z‖₂, eps)``."""
    norm = xp.sqrt(xp.sum(z * z, axis=-1, keepdims=True))
    return z / xp.maximum(norm, xp.full_like(norm, eps))


def bilinear_pool(x, y=None, *, mask=None, reduction="mean", eps=1e-10, l2_eps=1e-12):
    """The three, one after the other."""
    g = outer_pool(x, y, mask=mask, reduction=reduction)
    flat = xp.reshape(g, (g.shape[0], math.prod(g.shape[1:])))
    return l2_normalize(signed_sqrt(flat, eps=eps), eps=l2_eps)
