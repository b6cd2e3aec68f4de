"""A linear layer of the PyTorch engine."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


class Linear(torch.autograd.Function):
    """A linear layer with one buffer for its weight gradient, which takes long to allocate."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, gradient: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.gradient = gradient
        return F.linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        x, weight = ctx.saved_tensors
        weight.grad = torch.mm(slope.mT, x, out=ctx.gradient)
        of_x = slope @ weight if ctx.needs_input_grad[0] else None
        return of_x, None, slope.sum(0) if ctx.needs_input_grad[2] else None, None
