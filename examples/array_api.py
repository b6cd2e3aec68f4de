"""Bilinear pooling in the Python array API standard: an example of a custom backend.

It imports nothing from this project. `examples/test_array_api.py` tests it against the
specification.
"""

import math

import array_api_strict as xp


def outer_pool(x, y=None, *, mask=None, reduction="mean"):
    """``(1/Z) Σ_l x_l y_lᵀ`` over the locations where the mask is True."""
    valid = xp.ones(x.shape[:2], dtype=xp.bool) if mask is None else mask
    x, y = (xp.where(valid[:, :, None], a, xp.zeros_like(a)) for a in (x, x if y is None else y))
    g = xp.matmul(xp.matrix_transpose(x), y)
    if reduction == "sum":
        return g
    count = xp.sum(xp.astype(valid, g.dtype), axis=1)
    return g / xp.maximum(count, xp.ones_like(count))[:, None, None]


def half_vectorize(g, *, isometric=True):
    """The upper triangle, row by row; entries above the diagonal are multiplied by √2."""
    weight = 2**0.5 if isometric else 1.0
    rows = []
    for c in range(g.shape[1]):
        rows += [g[:, c, c : c + 1], g[:, c, c + 1 :] * weight]
    return xp.concat(rows, axis=1)


def signed_sqrt(g, *, eps=1e-10, root="signed", slope_eps=None):
    """``sign(g) √(|g| + eps)`` and its published variants; `slope_eps` affects only gradients."""
    if root == "unsigned":
        return xp.sqrt(g + eps)
    magnitude = xp.sqrt(xp.abs(g) + eps)
    if root == "shifted":
        return g / xp.where(g == 0, xp.ones_like(g), magnitude + eps**0.5)
    return xp.sign(g) * magnitude


def l2_normalize(z, *, eps=1e-12, norm="floor"):
    """``z / max(‖z‖₂, eps)``, or ``z / √(‖z‖₂² + eps)``."""
    square = xp.sum(z * z, axis=-1, keepdims=True)
    if norm == "added":
        return z / xp.sqrt(square + eps)
    return z / xp.maximum(xp.sqrt(square), xp.full_like(square, eps))


def bilinear_pool(
    x,
    y=None,
    *,
    mask=None,
    reduction="mean",
    eps=1e-10,
    l2_eps=1e-12,
    packed=False,
    root="signed",
    slope_eps=None,
    norm="floor",
):
    """`outer_pool`, `signed_sqrt`, flatten, `l2_normalize`."""
    g = outer_pool(x, y, mask=mask, reduction=reduction)
    s = signed_sqrt(g, eps=eps, root=root, slope_eps=slope_eps)
    flat = half_vectorize(s) if packed else xp.reshape(s, (s.shape[0], math.prod(s.shape[1:])))
    return l2_normalize(flat, eps=l2_eps, norm=norm)
