"""L2 normalization over the last axis, with a floor on the norm."""

import torch
from torch import Tensor

from ...contract import L2_EPS, Norm
from ...contract.pooling import check_l2_normalize
from ._fx import leaf
from ._tensors import spec, upcast, use_plain_operations

PART = 512
"""Number of squares that are added in turn."""


@leaf
def l2_normalize(z: Tensor, *, eps: float = L2_EPS, norm: Norm = "floor") -> Tensor:
    """Scale each vector of the last axis to unit length: ``z / max(‖z‖₂, eps)``.

    `bilinear.reference.l2_normalize` specifies the values, gradients and errors.

    Args:
        z: vectors (..., K).
        eps: lower bound of the norm, a positive number. Default 1e-12.
        norm: ``"floor"``, or ``"added"`` for ``z / √(‖z‖₂² + eps)``. Default ``"floor"``.

    Returns: Vectors in the shape and dtype of z.
    Cost: time and memory of the size of z.

    Example:
        >>> l2_normalize(torch.tensor([3.0, 4.0]))
        tensor([0.6000, 0.8000])
    """
    check_l2_normalize(spec("l2_normalize", "z", z), eps, norm)
    return l2_normalize_unchecked(upcast(z), eps, norm).to(z.dtype)


def l2_normalize_unchecked(z: Tensor, eps: float, norm: Norm = "floor") -> Tensor:
    """The unchecked formula."""
    if norm == "added":
        return z / ((z * z).sum(-1, keepdim=True) + eps).sqrt()
    if use_plain_operations():
        return z / floor_norm(z, eps)
    return _Quotient.apply(z, eps)[0]  # pyright: ignore[reportOptionalSubscript]


class _Quotient(torch.autograd.Function):
    """(z, eps) -> u = z / n, n in few passes over memory. The slope is read off them."""

    generate_vmap_rule = True

    @staticmethod
    def forward(z, eps):
        n = norms(z).clamp(min=eps)
        return z / n, n

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        z, ctx.eps = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(z, *output)
        ctx.save_for_forward(z)

    @staticmethod
    def backward(ctx, cotangent, _):
        z, u, n = ctx.saved_tensors
        if torch.is_grad_enabled():  # it will be differentiated: from the input again
            n = floor_norm(z, ctx.eps)
            u = z / n
        return _project(cotangent, u, n, ctx.eps), None

    @staticmethod
    def jvp(ctx, dz, _):
        (z,) = ctx.saved_tensors
        n = floor_norm(z, ctx.eps)
        return _project(dz, z / n, n, ctx.eps), None


def _project(t: Tensor, u: Tensor, n: Tensor, eps: float) -> Tensor:
    """``(t − u ⟨u, t⟩) / n``, without the projection where n is the floor."""
    along = torch.where(n.detach() <= eps, 0.0, (u * t).sum(-1, keepdim=True))
    return torch.addcmul(t, u, along, value=-1) / n


def norms(z: Tensor) -> Tensor:
    """Norms without derivatives, (..., 1).

    On a CPU PyTorch adds the squares of a vector one after another and loses digits of long ones.
    The norm of the norms of parts does not.
    """
    rows = z.shape[-1] // PART if z.is_cpu else 0
    if rows > 1:
        parts, rest = z.tensor_split([rows * PART], -1)
        parts = torch.linalg.vector_norm(parts.unflatten(-1, (rows, PART)), dim=-1)
        z = torch.cat([parts, torch.linalg.vector_norm(rest, dim=-1, keepdim=True)], -1)
    return torch.linalg.vector_norm(z, dim=-1, keepdim=True)


def floor_norm(z: Tensor, eps: float) -> Tensor:
    """Norms, not below `eps`."""
    return norm_from_square((z * z).sum(-1, keepdim=True), eps)


def norm_from_square(square: Tensor, eps: float) -> Tensor:
    """The root of the square of a norm, not below `eps`.

    The root is taken of a value that is never 0, so that no derivative of the dropped branch is
    infinite. NaN is not <= eps: it stays. The floor is a tensor, since a function that PyTorch 2.13
    compiled computes with an older eps where one number is both compared and selected.
    """
    floor = torch.full_like(square, eps)
    short = square.detach().sqrt() <= floor
    return torch.where(short, floor, torch.where(short, 1.0, square).sqrt())
