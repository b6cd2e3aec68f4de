"""The maximum of the outer products of location features."""

from typing import Any

import numpy as np

from ..contract.aggregation import check_outer_max_pool
from ._arrays import Array, round_to, spec, upcast
from .outer_pool import _select


def outer_max_pool(x: Array, y: Array | None = None, *, mask: Array | None = None) -> Array:
    """Take the largest product of each pair of channels over all locations.

    ``M[n,c,d] = max_l x[n,l,c] · y[n,l,d]`` over the valid locations. ``y=None`` is one stream: y
    = x.

    Args:
        x: features of the first stream, (N, L, C).
        y: features of the second stream, (N, L, D); None is one stream, y = x. Default None.
        mask: boolean, (N, L), True at valid locations; None is all. Default None.

    Returns:
        Maxima (N, C, D) in the dtype of x.

    Shape:
        x (N, L, C), y (N, L, D), mask (N, L) boolean, True at valid locations -> (N, C, D).

    Gradient:
        For each pair (c, d), let W[l,c,d] be 1 divided by the number of locations with the maximum
        product at these locations, and 0 at the others. For the cotangent Γ (N, C, D), ``∂x[l,c] =
        Σ_d W[l,c,d] Γ[c,d] y[l,d]`` and ``∂y[l,d] = Σ_c W[l,c,d] Γ[c,d] x[l,c]``. For one stream,
        the gradient is their sum. Locations with equal maxima share the gradient equally; products
        are compared after one rounding to the accumulation dtype. W is a constant in further
        derivatives, so the second derivative is that of a product, and higher ones are 0.
        A location where the mask is False does not contribute, even if it is NaN, and its gradient
        is 0. A sample without valid locations gives 0 with gradient 0. A NaN product makes its
        entry NaN, and the gradient of that entry NaN at every valid location.

    Raises:
        ValueError for L = 0, C = 0, D = 0 or shapes that do not fit (N = 0 is allowed), TypeError
        for integer or complex features, x and y of two dtypes, or a mask that is not boolean.

    Example:
        >>> outer_max_pool(np.ones((2, 49, 8))).shape
        (2, 8, 8)

    References:
        Lin, RoyChowdhury, Maji, "Bilinear CNN Models for Fine-grained Visual Recognition", ICCV
        2015, section 3 (the maximum as another way to pool bilinear features); ties are ours.
    """
    check_outer_max_pool(spec(x), spec(y), spec(mask))
    return round_to(_outer_max_pool(upcast(x), upcast(y), mask), x)


def outer_max_pool_vjp(
    cotangent: Array, x: Array, y: Array | None = None, *, mask: Array | None = None
) -> tuple[Array, ...]:
    """Gradient of ``⟨cotangent, outer_max_pool(x, y)⟩``: (∂x,), or (∂x, ∂y) for two streams."""
    check_outer_max_pool(spec(x), spec(y), spec(mask))
    gradients = _outer_max_pool_vjp(upcast(cotangent), upcast(x), upcast(y), mask)
    return tuple(round_to(gradient, x) for gradient in gradients)


def _outer_max_pool(x, y, mask):
    products, largest, share = _maxima(x, x if y is None else y, mask)
    # the second term is 0 for real products, and the derivative in a complex step
    return largest + np.sum(share * (products - products.real), axis=1)


def _outer_max_pool_vjp(ct, x, y, mask):
    z = x if y is None else y
    _, largest, share = _maxima(x, z, mask)
    ct = np.where(np.isnan(largest), np.nan, ct)[:, None]
    pulled = np.where(share > 0, share * ct, 0)  # a NaN reaches the locations that share it
    dx = _select(np.einsum("nlcd,nld->nlc", pulled, _select(z, mask)), mask)
    dy = _select(np.einsum("nlcd,nlc->nld", pulled, _select(x, mask)), mask)
    return (dx + dy,) if y is None else (dx, dy)


def _maxima(x, y, mask) -> tuple[Any, Any, Any]:
    """Products (N, L, C, D), 0 at invalid locations; their maxima; the share of each location."""
    products: Any = _select(x, mask)[:, :, :, None] * _select(y, mask)[:, :, None, :]
    valid = (np.ones(x.shape[:2], bool) if mask is None else mask)[:, :, None, None]
    largest = np.max(products.real, axis=1, where=valid, initial=-np.inf)
    largest = np.where(valid.any(axis=1), largest, 0)
    reached = valid & ~(products.real < largest[:, None])  # where the maximum is NaN: all
    return products, largest, reached / np.maximum(reached.sum(axis=1, keepdims=True), 1)
