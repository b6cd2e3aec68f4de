"""The low-rank bilinear classifier: scores of classes without the bilinear descriptor."""

import torch
from torch import Tensor

from ...contract import Reduction
from ...contract.low_rank import check_low_rank_scores
from ._fx import leaf
from ._tensors import check_devices, spec, specs, upcast
from .low_rank_pool import project
from .outer_pool import divide_by_count, select_locations


@leaf
def low_rank_scores(
    x: Tensor,
    u_plus: Tensor,
    u_minus: Tensor,
    bias: Tensor,
    *,
    mask: Tensor | None = None,
    reduction: Reduction = "sum",
) -> Tensor:
    """Scores of a low-rank bilinear classifier.

    `bilinear.reference.low_rank_scores` specifies the values, gradients and errors.

    Args:
        x: features, (N, L, C).
        u_plus: positive factors of K classes, (K, C, r₊).
        u_minus: negative factors, (K, C, r₋). One of r₊ and r₋ may be 0.
        bias: (K,).
        mask: boolean, (N, L), True at valid locations; None is all. Default None.
        reduction: ``"sum"`` (default, as published) or ``"mean"`` over the valid locations.

    Returns: Scores (N, K) in the dtype of x.
    Cost: time N·L·C·K·(r₊ + r₋), memory N·L·K·(r₊ + r₋); the (N, C, C) matrix is never formed.

    Example:
        >>> u = torch.rand(5, 8, 4)
        >>> low_rank_scores(torch.rand(2, 49, 8), u, u, torch.zeros(5)).shape
        torch.Size([2, 5])
    """
    op = "low_rank_scores"
    of_x, _, of_mask = specs(op, x, None, mask)
    of_plus, of_minus = spec(op, "u_plus", u_plus), spec(op, "u_minus", u_minus)
    of_bias = spec(op, "bias", bias)
    check_low_rank_scores(of_x, of_plus, of_minus, of_bias, of_mask, reduction)
    check_devices(op, x=x, u_plus=u_plus, u_minus=u_minus, bias=bias, mask=mask)
    return low_rank_scores_unchecked(x, u_plus, u_minus, bias, mask, reduction).to(x.dtype)


def low_rank_scores_unchecked(
    x: Tensor,
    u_plus: Tensor,
    u_minus: Tensor,
    bias: Tensor,
    mask: Tensor | None,
    reduction: Reduction,
) -> Tensor:
    """The unchecked formula, in the accumulation dtype of x, whatever that of the weights."""
    kept = select_locations(upcast(x), mask)
    difference = _energies(kept, u_plus, x.dtype) - _energies(kept, u_minus, x.dtype)
    return divide_by_count(difference, x.shape[1], mask, reduction) + bias.to(kept.dtype)


def _energies(x: Tensor, u: Tensor, dtype: torch.dtype) -> Tensor:
    """``Σ_l ‖Uₖᵀ x[l]‖²`` of every class."""
    p = project(x, u.movedim(0, 1).flatten(1), dtype, u.dtype)
    return (p * p).sum(1).unflatten(1, (u.shape[0], u.shape[2])).sum(2)
