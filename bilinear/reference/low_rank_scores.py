"""The low-rank bilinear classifier: scores of classes without the bilinear descriptor."""

import numpy as np

from ..contract import Reduction
from ..contract.low_rank import check_low_rank_scores
from ._arrays import Array, round_to, spec, upcast
from .outer_pool import _divisor, _select


def low_rank_scores(
    x: Array,
    u_plus: Array,
    u_minus: Array,
    bias: Array,
    *,
    mask: Array | None = None,
    reduction: Reduction = "sum",
) -> Array:
    """Scores of a low-rank bilinear classifier.

    ``s[n,k] = (1/Z) Σ_l (‖U₊ₖᵀ x[n,l]‖² − ‖U₋ₖᵀ x[n,l]‖²) + b[k]`` over the valid locations,
    which is ``⟨U₊ₖ U₊ₖᵀ − U₋ₖ U₋ₖᵀ, outer_pool(x)⟩ + b[k]``. Every symmetric matrix with r₊
    positive and r₋ negative eigenvalues is such a difference. Z is the number of valid locations
    for ``"mean"`` and 1 for ``"sum"``; it does not divide b.

    Args:
        x: features, (N, L, C).
        u_plus: positive factors of K classes, (K, C, r₊).
        u_minus: negative factors, (K, C, r₋). One of r₊ and r₋ may be 0.
        bias: (K,).
        mask: boolean, (N, L), True at valid locations; None is all. Default None.
        reduction: ``"sum"`` as published, or ``"mean"``, which divides by the number of valid
            locations. Default ``"sum"``, unlike in other operators.

    Returns:
        Scores (N, K) in the dtype of x.

    Shape:
        x (N, L, C), u_plus (K, C, r₊), u_minus (K, C, r₋), bias (K,), mask (N, L) boolean -> (N,
        K).

    Gradient:
        For the cotangent γ (N, K), ``∂x[l] = (2/Z) Σ_k γ_k (U₊ₖ U₊ₖᵀ − U₋ₖ U₋ₖᵀ) x[l]``, ``∂U₊ₖ =
        Σ_nl (2/Z) γ_k x[l] x[l]ᵀ U₊ₖ``, and ``∂b = Σ_n γ``. ∂U₋ₖ has the same form with the
        opposite sign.
        A location where the mask is False contributes neither to the result nor to any gradient,
        even if it is NaN. The scores of a sample without valid locations are b. If r₊ or r₋ is 0,
        its sum is empty.

    Raises:
        ValueError for sizes that are 0, except N and one of the ranks, or that do not fit;
        TypeError for integer or complex arrays, unequal dtypes, or a mask that is not boolean.

    Example:
        >>> u = np.ones((5, 8, 4))
        >>> low_rank_scores(np.ones((2, 49, 8)), u, u, np.zeros(5)).shape
        (2, 5)

    References:
        Kong, Fowlkes, "Low-rank Bilinear Pooling for Fine-Grained Classification", CVPR 2017,
        section 3: sum pooling, neither root nor norm.
    """
    check_low_rank_scores(spec(x), spec(u_plus), spec(u_minus), spec(bias), spec(mask), reduction)
    arrays = upcast(x), upcast(u_plus), upcast(u_minus), upcast(bias)
    return round_to(_low_rank_scores(*arrays, mask, reduction), x)


def low_rank_scores_vjp(
    cotangent: Array,
    x: Array,
    u_plus: Array,
    u_minus: Array,
    bias: Array,
    *,
    mask: Array | None = None,
    reduction: Reduction = "sum",
) -> tuple[Array, ...]:
    """Gradient of ``⟨cotangent, low_rank_scores(…)⟩``: (∂x, ∂u_plus, ∂u_minus, ∂bias)."""
    check_low_rank_scores(spec(x), spec(u_plus), spec(u_minus), spec(bias), spec(mask), reduction)
    arrays = upcast(x), upcast(u_plus), upcast(u_minus), upcast(bias)
    gradients = _low_rank_scores_vjp(upcast(cotangent), *arrays, mask, reduction)
    return tuple(round_to(gradient, x) for gradient in gradients)


def _low_rank_scores(x, u_plus, u_minus, bias, mask=None, reduction="sum"):
    plus, minus = _project(x, u_plus, mask), _project(x, u_minus, mask)
    difference = np.sum(plus**2, axis=3) - np.sum(minus**2, axis=3)
    pooled = np.sum(difference, axis=1, keepdims=True) / _divisor(x, mask, reduction)
    return pooled[:, 0] + bias


def _low_rank_scores_vjp(ct, x, u_plus, u_minus, bias, mask=None, reduction="sum"):
    weight = (2 * ct[:, None] / _divisor(x, mask, reduction))[..., None]
    plus, minus = weight * _project(x, u_plus, mask), -weight * _project(x, u_minus, mask)
    dx = np.einsum("nlkr,kcr->nlc", plus, u_plus) + np.einsum("nlkr,kcr->nlc", minus, u_minus)
    valid = _select(x, mask)
    du_plus, du_minus = (np.einsum("nlc,nlkr->kcr", valid, p) for p in (plus, minus))
    return _select(dx, mask), du_plus, du_minus, ct.sum(axis=0)


def _project(x, u, mask):
    return np.einsum("nlc,kcr->nlkr", _select(x, mask), u)
