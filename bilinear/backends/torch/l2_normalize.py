"""L2 normalization over the last axis, with a floor on the norm."""

import torch
from torch import Tensor

from ...contract import L2_EPS, Norm
from ...contract.pooling import check_l2_normalize
from ._fx import leaf
from ._tensors import spec, upcast


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
    return z / floor_norm(z, eps)


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
