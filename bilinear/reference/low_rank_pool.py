"""Low-rank bilinear pooling: products of projections, pooled."""

import numpy as np

from ..contract import Reduction
from ..contract.low_rank import Activation, check_low_rank_pool
from ._arrays import Array, round_to, spec, upcast
from .hadamard_pool import _hadamard_pool, _hadamard_pool_vjp
from .outer_pool import _select


def low_rank_pool(
    x: Array,
    u: Array,
    v: Array,
    y: Array | None = None,
    *,
    activation: Activation = None,
    rank: int = 1,
    mask: Array | None = None,
    reduction: Reduction = "mean",
) -> Array:
    """Low-rank bilinear pooling: ``hadamard_pool(σ(x u), σ(y v))``.

    Without activation, entry k is ``(1/Z) Σ_l xᵀ (Σ_r u_r v_rᵀ) y`` over the window of k: a
    bilinear form whose matrix has rank at most `rank`. ``y=None`` is one stream, y = x; u and v
    are still two matrices.

    Args:
        x: features of the first stream, (N, L, C).
        u: projection of the first stream, (C, R).
        v: projection of the second stream, (D, R).
        y: features of the second stream, (N, L, D); None is one stream, y = x. Default None.
        activation: σ: ``"tanh"``, ``"relu"``, ``"sigmoid"``, or None. Default None, the identity.
        rank: number of consecutive products that are summed, a divisor of R. Default 1.
        mask: boolean, (N, L), True at valid locations; None is all. Default None.
        reduction: ``"mean"`` divides by the number of valid locations, ``"sum"`` does not.
            Default ``"mean"``.

    Returns:
        Sums (N, R / rank) in the dtype of x.

    Shape:
        x (N, L, C), u (C, R), v (D, R), y (N, L, D), mask (N, L) boolean -> (N, R / rank).

    Gradient:
        Let γ be the cotangent, repeated over its windows, ``p = x u`` and ``q = y v``. Then ``∂p =
        σ'(p) ∘ γ ∘ σ(q) / Z``, ``∂x = ∂p uᵀ``, and ``∂u = Σ xᵀ ∂p`` over samples and valid
        locations. The gradients of y and v have the same form. For one stream, ∂x is the sum of
        both.
        A location where the mask is False contributes neither to the result nor to any gradient,
        even if it is NaN, and whatever σ(0) is. A sample without valid locations pools to 0. The
        slope of relu at exactly 0 is 0. All activations propagate NaN.

    Raises:
        ValueError for empty sizes (N = 0 is allowed) or sizes that do not fit, or an unknown
        activation; TypeError for integer or complex arrays, unequal dtypes, or a mask that is not
        boolean.

    Example:
        >>> x, u = np.ones((2, 49, 8)), np.ones((8, 16))
        >>> low_rank_pool(x, u, u).shape
        (2, 16)

    References:
        Kim et al., ICLR 2017, section 3 (there of one location); windows: Yu et al., "Multi-modal
        Factorized Bilinear Pooling with Co-Attention Learning", ICCV 2017, section 3.
    """
    check_low_rank_pool(spec(x), spec(u), spec(v), spec(y), activation, rank, spec(mask), reduction)
    result = _low_rank_pool(
        upcast(x), upcast(u), upcast(v), upcast(y), activation, rank, mask, reduction
    )
    return round_to(result, x)


def low_rank_pool_vjp(
    cotangent: Array,
    x: Array,
    u: Array,
    v: Array,
    y: Array | None = None,
    *,
    activation: Activation = None,
    rank: int = 1,
    mask: Array | None = None,
    reduction: Reduction = "mean",
) -> tuple[Array, ...]:
    """Gradient of ``⟨cotangent, low_rank_pool(x, u, v, y)⟩``: (∂x, ∂u, ∂v), and ∂y of two."""
    check_low_rank_pool(spec(x), spec(u), spec(v), spec(y), activation, rank, spec(mask), reduction)
    arrays = upcast(x), upcast(u), upcast(v), upcast(y)
    gradients = _low_rank_pool_vjp(upcast(cotangent), *arrays, activation, rank, mask, reduction)
    return tuple(round_to(gradient, x) for gradient in gradients)


def _low_rank_pool(x, u, v, y=None, activation=None, rank=1, mask=None, reduction="mean"):
    p, q = _select(x, mask) @ u, _select(x if y is None else y, mask) @ v
    a, b = _activate(p, activation), _activate(q, activation)
    return _hadamard_pool(a, b, rank=rank, mask=mask, reduction=reduction)


def _low_rank_pool_vjp(ct, x, u, v, y=None, activation=None, rank=1, mask=None, reduction="mean"):
    x_valid, y_valid = _select(x, mask), _select(x if y is None else y, mask)
    p, q = x_valid @ u, y_valid @ v
    a, b = _activate(p, activation), _activate(q, activation)
    da, db = _hadamard_pool_vjp(ct, a, b, rank=rank, mask=mask, reduction=reduction)
    dp, dq = da * _slope(p, activation), db * _slope(q, activation)
    dx, dy = _select(dp @ u.T, mask), _select(dq @ v.T, mask)
    du, dv = np.einsum("nlc,nlr->cr", x_valid, dp), np.einsum("nlc,nlr->cr", y_valid, dq)
    return (dx + dy, du, dv) if y is None else (dx, du, dv, dy)


def _activate(p, activation):
    if activation == "tanh":
        return np.tanh(p)
    if activation == "relu":
        return np.where(p.real <= 0, 0 * p, p)
    if activation == "sigmoid":
        positive = p.real >= 0
        e = np.exp(np.where(positive, -p, p))  # never of a large number
        return np.where(positive, 1 / (1 + e), e / (1 + e))
    return p


def _slope(p, activation):
    if activation == "tanh":
        return 1 - np.tanh(p) ** 2
    if activation == "relu":
        return np.where(p <= 0, 0, 1).astype(p.dtype)
    if activation == "sigmoid":
        return _activate(p, activation) * _activate(-p, activation)
    return np.ones_like(p)
