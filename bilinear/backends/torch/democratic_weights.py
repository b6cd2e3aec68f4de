"""Weights under which locations contribute more equally to a sum of outer products."""

import torch
from torch import Tensor

from ...contract import EPS
from ...contract.aggregation import DAMPING, GAMMA, STEPS, check_democratic_weights
from ._fx import leaf
from ._tensors import matmul, specs, upcast
from .outer_pool import select_locations


@leaf
def democratic_weights(
    x: Tensor,
    *,
    gamma: float = GAMMA,
    damping: float = DAMPING,
    steps: int = STEPS,
    eps: float = EPS,
    mask: Tensor | None = None,
    detach_target: bool = False,
) -> Tensor:
    """Find the weights of γ-democratic aggregation by damped Sinkhorn steps.

    `bilinear.reference.democratic_weights` specifies the values, gradients and errors.

    Args:
        x: features, (N, L, C).
        gamma: exponent of the target contributions, from 0 (equal) to 1 (sum pooling). Default 0.5.
        damping: exponent of a Sinkhorn step, above 0 and at most 1. Default 0.5.
        steps: number of Sinkhorn steps, from 1 to 1000. Default 10.
        eps: added to the base of each power, a positive number. Default 1e-10.
        mask: boolean, (N, L), True at valid locations; None is all. Default None.
        detach_target: whether the gradient treats the targets as constants. Default False.

    Returns: Weights (N, L) in the dtype of x.
    Cost: time O(N·L²·(C + steps)), memory O(N·L² + N·L·steps).

    Example:
        >>> democratic_weights(torch.rand(2, 49, 8)).shape
        torch.Size([2, 49])
    """
    op = "democratic_weights"
    of_x, _, of_mask = specs(op, x, None, mask)
    check_democratic_weights(of_x, of_mask, gamma, damping, steps, eps, detach_target)
    settings = gamma, damping, steps, eps, detach_target
    return democratic_weights_unchecked(x, mask, *settings).to(x.dtype)


def democratic_weights_unchecked(
    x: Tensor,
    mask: Tensor | None,
    gamma: float,
    damping: float,
    steps: int,
    eps: float,
    detach_target: bool,
) -> Tensor:
    """The unchecked formula, in the accumulation dtype."""
    dtype, x = x.dtype, select_locations(upcast(x), mask)
    k = matmul(x, x.transpose(-2, -1), dtype, dtype).square()
    total = k.sum(2)
    dead = total == 0  # a zero vector; the power is taken of a value that is never 0
    c = torch.where(dead, 0.0, torch.where(dead, 1.0, total).pow(gamma))
    target = ((c.detach() if detach_target else c) + eps).pow(damping)
    alpha = torch.ones_like(c)
    for _ in range(steps):
        sums = matmul(k, alpha[:, :, None])[:, :, 0]
        alpha = target * (alpha + eps).pow(1 - damping) / ((sums + eps).pow(damping) + eps)
    return alpha if mask is None else torch.where(mask, alpha, 0.0)
