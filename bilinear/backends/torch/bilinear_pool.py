"""The descriptor of the bilinear CNN: outer product, signed root, unit length."""

import torch
from torch import Tensor

from ...contract import EPS, L2_EPS, Reduction, check_bilinear_pool
from ._fused import fused, plain
from ._tensors import check_devices, specs, wide
from .outer_pool import counted, keep


def bilinear_pool(
    x: Tensor,
    y: Tensor | None = None,
    *,
    mask: Tensor | None = None,
    reduction: Reduction = "mean",
    eps: float = EPS,
    l2_eps: float = L2_EPS,
) -> Tensor:
    """Bilinear pooling: ``l2_normalize(signed_sqrt(flatten(outer_pool(x, y))))``.

    The (C, D) matrix is flattened row-major, so feature ``c·D + d`` is the pair (c, d), and the
    normalisation is over the whole descriptor.

    Shapes: x (N, L, C), y (N, L, D), mask (N, L) boolean -> (N, C·D).
    Gradient, edges: those of the three steps, in that order. Half types are widened to float32
        once at the start and rounded once at the end.
    Raises: ValueError and TypeError as `bilinear.contract.check_bilinear_pool`.
    Source: Lin, RoyChowdhury, Maji, ICCV 2015, section 3.
    """
    op = "bilinear_pool"
    check_bilinear_pool(*specs(op, x, y, mask), reduction, eps, l2_eps)
    check_devices(op, x=x, y=y, mask=mask)
    return described(x, y, mask, reduction, eps, l2_eps)


def described(
    x: Tensor,
    y: Tensor | None,
    mask: Tensor | None,
    reduction: Reduction,
    eps: float,
    l2_eps: float,
) -> Tensor:
    """The unchecked formula, rounded back to the dtype of `x`."""
    z: Tensor | int = 1
    if reduction == "mean":
        z = x.shape[1] if mask is None else counted(mask, wide(x[:0]).dtype)
    x_kept = keep(x, mask)
    y_kept = None if y is None else keep(y, mask)
    tracing = torch.compiler.is_compiling() or torch.jit.is_tracing()  # pyright: ignore
    formula = plain if tracing else fused
    return formula(x_kept, y_kept, z, eps, l2_eps).to(x.dtype)
