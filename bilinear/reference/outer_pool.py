"""The pooled outer product of location features."""

import numpy as np

from ..contract import Reduction
from ..contract.pooling import check_outer_pool
from ._arrays import Array, round_to, spec, upcast


def outer_pool(
    x: Array, y: Array | None = None, *, mask: Array | None = None, reduction: Reduction = "mean"
) -> Array:
    """Pool the outer products of two feature vectors over all locations.

    ``G[n,c,d] = (1/Z) Σ_l x[n,l,c] · y[n,l,d]`` over the valid locations, where Z is their number
    for ``"mean"`` and 1 for ``"sum"``. ``y=None`` is one stream: y = x.

    Args:
        x: features of the first stream, (N, L, C).
        y: features of the second stream, (N, L, D); None is one stream, y = x. Default None.
        mask: boolean, (N, L), True at valid locations; None is all. Default None.
        reduction: ``"mean"`` divides by the number of valid locations, ``"sum"`` does not.
            Default ``"mean"``.

    Returns:
        Matrices (N, C, D) in the dtype of x.

    Shape:
        x (N, L, C), y (N, L, D), mask (N, L) boolean, True at valid locations -> (N, C, D).

    Gradient:
        For the cotangent Γ (N, C, D), ``∂x[l] = Γ y[l] / Z`` and ``∂y[l] = Γᵀ x[l] / Z``. For one
        stream, the gradient is their sum, ``(Γ + Γᵀ) x[l] / Z``; Γ need not be symmetric.
        A location where the mask is False does not contribute, even if it is NaN, and its gradient
        is 0. A sample without valid locations has value 0 and gradient 0. The mask has no
        gradient.

    Raises:
        ValueError for L = 0, C = 0, D = 0 or shapes that do not fit (N = 0 is allowed), TypeError
        for integer or complex features, x and y of two dtypes, or a mask that is not boolean.

    Example:
        >>> outer_pool(np.ones((2, 49, 8)), np.ones((2, 49, 4))).shape
        (2, 8, 4)

    References:
        Lin, RoyChowdhury, Maji, "Bilinear CNN Models for Fine-grained Visual Recognition", ICCV
        2015, equations 1 and 2 (there with sum pooling).
    """
    check_outer_pool(spec(x), spec(y), spec(mask), reduction)
    return round_to(_outer_pool(upcast(x), upcast(y), mask, reduction), x)


def outer_pool_vjp(
    cotangent: Array,
    x: Array,
    y: Array | None = None,
    *,
    mask: Array | None = None,
    reduction: Reduction = "mean",
) -> tuple[Array, ...]:
    """Gradient of ``⟨cotangent, outer_pool(x, y)⟩``: (∂x,) for one stream, (∂x, ∂y) for two."""
    check_outer_pool(spec(x), spec(y), spec(mask), reduction)
    gradients = _outer_pool_vjp(upcast(cotangent), upcast(x), upcast(y), mask, reduction)
    return tuple(round_to(gradient, x) for gradient in gradients)


def _outer_pool(x, y, mask, reduction):
    x, y = _select(x, mask), _select(x if y is None else y, mask)
    return np.einsum("nlc,nld->ncd", x, y) / _divisor(x, mask, reduction)


def _outer_pool_vjp(g, x, y, mask, reduction):
    z = _divisor(x, mask, reduction)
    x_valid, y_valid = _select(x, mask), _select(x if y is None else y, mask)
    dx = np.einsum("ncd,nld->nlc", g, y_valid) / z
    dy = np.einsum("ncd,nlc->nld", g, x_valid) / z
    if y is None:
        return (_select(dx + dy, mask),)
    return _select(dx, mask), _select(dy, mask)


def _select(x, mask):
    """Set invalid locations to 0 by selection: a product would keep NaN."""
    return x if mask is None else np.where(mask[:, :, None], x, 0)


def _divisor(x, mask, reduction):
    """Z of each sample; 1 where no location is valid, because the sum is 0 there."""
    if reduction == "sum":
        return 1
    if mask is None:
        return x.shape[1]
    return np.maximum(mask.sum(axis=1), 1).astype(x.real.dtype)[:, None, None]
