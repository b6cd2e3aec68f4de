"""L2 normalisation over the last axis, with a floor on the norm."""

import torch
from torch import Tensor

from ...contract import L2_EPS, Norm
from ...contract.pooling import check_l2_normalize
from ._tensors import spec, wide


def l2_normalize(z: Tensor, *, eps: float = L2_EPS, norm: Norm = "floor") -> Tensor:
    """Scale each vector to unit length, or by 1/eps where it is too short: ``z / max(‖z‖₂, eps)``.

    The form ``"added"`` is ``z / √(‖z‖₂² + eps)``, as published by Caffe's users.

    Shapes: z (..., K) -> the same.
    Gradient: the quotient rule for ``‖z‖ > eps``; that of z / eps for ``‖z‖ <= eps``.
        With eps added, the quotient rule everywhere.
    Edges: the zero vector gives the zero vector, with slope 1/eps (1/√eps where it is
        added). A NaN makes its whole vector NaN. Half types are computed in float32.
    Cost: time, memory and output of the size of z.
    Raises: ValueError and TypeError as `bilinear.contract.pooling.check_l2_normalize`, and for an
        unknown form.
    Source: Lin, RoyChowdhury, Maji, ICCV 2015, section 3.1; the floor is that of
        `torch.nn.functional.normalize`.
    """
    check_l2_normalize(spec("l2_normalize", "z", z), eps, norm)
    return normalized(wide(z), eps, norm).to(z.dtype)


def normalized(z: Tensor, eps: float, norm: Norm = "floor") -> Tensor:
    """The unchecked formula."""
    if norm == "added":
        return z / ((z * z).sum(-1, keepdim=True) + eps).sqrt()
    return z / floored(z, eps)


def floored(z: Tensor, eps: float) -> Tensor:
    """Norms, not below `eps`."""
    return length((z * z).sum(-1, keepdim=True), eps)


def length(square: Tensor, eps: float) -> Tensor:
    """The root of the square of a norm, not below `eps`.

    The root is taken of a value that is never 0, so that no derivative of the branch which
    `where` drops is infinite. NaN is not <= eps: it stays in the norm and reaches every entry. The
    floor is a tensor, since a function that PyTorch 2.13 compiled computes with an older eps where
    one number is both compared and selected.
    """
    floor = torch.full_like(square, eps)
    short = square.detach().sqrt() <= floor
    length = torch.where(short, 1.0, square).sqrt()
    return torch.where(short, floor, length)
