"""The pooled covariance of location features."""

import numpy as np

from ..contract.matrices import check_covariance_pool
from ._arrays import Array, round_to, spec, upcast
from .outer_pool import _divisor, _select


def covariance_pool(x: Array, y: Array | None = None, *, mask: Array | None = None) -> Array:
    """The covariance of two feature vectors over all locations.

    ``C[n] = (1/Z) Σ_l (x[n,l] − μ_x[n]) (y[n,l] − μ_y[n])ᵀ`` over the valid locations, where Z is
    their number and μ their mean. ``y=None`` is one stream: y = x. Features are centered before
    they are multiplied, so that a large mean does not reduce the accuracy.

    Args:
        x: features of the first stream, (N, L, C).
        y: features of the second stream, (N, L, D); None is one stream, y = x. Default None.
        mask: boolean, (N, L), True at valid locations; None is all. Default None.

    Returns:
        Covariances (N, C, D) in the dtype of x.

    Shape:
        x (N, L, C), y (N, L, D), mask (N, L) boolean, True at valid locations -> (N, C, D).

    Gradient:
        For the cotangent Γ (N, C, D), ``∂x[l] = Γ (y[l] − μ_y) / Z`` and ``∂y[l] = Γᵀ (x[l] − μ_x)
        / Z``. For one stream, the gradient is their sum, ``(Γ + Γᵀ) (x[l] − μ_x) / Z``. The mean
        contributes nothing, because Σ_l (y[l] − μ_y) = 0.
        A location where the mask is False contributes neither to the mean nor to the products,
        even if it is NaN, and its gradient is 0. A sample with no valid location, or with one, has
        covariance exactly 0 and gradient 0. The mask has no gradient.

    Raises:
        ValueError for L = 0, C = 0, D = 0 or shapes that do not fit (N = 0 is allowed), TypeError
        for integer or complex features, x and y of two dtypes, or a mask that is not boolean.

    Example:
        >>> covariance_pool(np.ones((2, 49, 8))).shape
        (2, 8, 8)

    References:
        Li, Xie, Wang, Zuo, "Is Second-Order Information Helpful for Large-Scale Visual
        Recognition?", ICCV 2017, equation 1.
    """
    check_covariance_pool(spec(x), spec(y), spec(mask))
    return round_to(_covariance_pool(upcast(x), upcast(y), mask), x)


def covariance_pool_vjp(
    cotangent: Array, x: Array, y: Array | None = None, *, mask: Array | None = None
) -> tuple[Array, ...]:
    """Gradient of ``⟨cotangent, covariance_pool(x, y)⟩``: (∂x,), or (∂x, ∂y) for two streams."""
    check_covariance_pool(spec(x), spec(y), spec(mask))
    gradients = _covariance_pool_vjp(upcast(cotangent), upcast(x), upcast(y), mask)
    return tuple(round_to(gradient, x) for gradient in gradients)


def _covariance_pool(x, y, mask):
    x_centered = _center(x, mask)
    y_centered = x_centered if y is None else _center(y, mask)
    return np.einsum("nlc,nld->ncd", x_centered, y_centered) / _divisor(x, mask, "mean")


def _covariance_pool_vjp(ct, x, y, mask):
    z = _divisor(x, mask, "mean")
    x_centered = _center(x, mask)
    y_centered = x_centered if y is None else _center(y, mask)
    dx = np.einsum("ncd,nld->nlc", ct, y_centered) / z
    dy = np.einsum("ncd,nlc->nld", ct, x_centered) / z
    if y is None:
        return (_select(dx + dy, mask),)
    return _select(dx, mask), _select(dy, mask)


def _center(x, mask):
    """Features minus their mean; 0 at invalid locations."""
    mean = _select(x, mask).sum(axis=1, keepdims=True) / _divisor(x, mask, "mean")
    return _select(x - mean, mask)
