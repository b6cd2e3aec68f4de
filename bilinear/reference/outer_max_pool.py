"""The maximum of the outer products of location features."""

from typing import Any

import numpy as np

from ..contract.aggregation import check_outer_max_pool
from ._arrays import Array, like, spec, wide
from .outer_pool import _keep


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
        2015, section 3 (the maximum as another pooling of bilinear features); ties are ours.
    """
    check_outer_max_pool(spec(x), spec(y), spec(mask))
    return like(_outer_max_pool(wide(x), wide(y), mask), x)


def outer_max_pool_vjp(
    cotangent: Array, x: Array, y: Array | None = None, *, mask: Array | None = None
) -> tuple[Array, ...]:
    """Gradient of ``⟨cotangent, outer_max_pool(x, y)⟩``: (∂x,), or (∂x, ∂y) for two streams."""
    check_outer_max_pool(spec(x), spec(y), spec(mask))
    gradients = _outer_max_pool_vjp(wide(cotangent), wide(x), wide(y), mask)
    return tuple(like(gradient, x) for gradient in gradients)


def _outer_max_pool(x, y, mask):
    products, largest, share = _maxima(x, x if y is None else y, mask)
    # of real products nothing but the maximum; of complex ones what a derivative carries along
    return largest + np.sum(share * (products - products.real), axis=1)


def _outer_max_pool_vjp(ct, x, y, mask):
    z = x if y is None else y
    _, largest, share = _maxima(x, z, mask)
    ct = np.where(np.isnan(largest), np.nan, ct)[:, None]
    pulled = np.where(share > 0, share * ct, 0)  # a NaN reaches those that share it
    dx = _keep(np.einsum("nlcd,nld->nlc", pulled, _keep(z, mask)), mask)
    dy = _keep(np.einsum("nlcd,nlc->nld", pulled, _keep(x, mask)), mask)
    return (dx + dy,) if y is None else (dx, dy)


def _maxima(x, y, mask) -> tuple[Any, Any, Any]:
    """All products (N, L, C, D), 0 where masked, their maxima, and how these are shared."""
    products: Any = _keep(x, mask)[:, :, :, None] * _keep(y, mask)[:, :, None, :]
    kept = np.ones(x.shape[:2], bool) if mask is None else mask
    kept = kept[:, :, None, None]
    largest = np.max(products.real, axis=1, where=kept, initial=-np.inf)
    largest = np.where(kept.any(axis=1), largest, 0)
    reached = kept & ~(products.real < largest[:, None])  # where the maximum is NaN: all
    return products, largest, reached / np.maximum(reached.sum(axis=1, keepdims=True), 1)
