"""The pooled outer product of location features."""

import torch
from torch import Tensor

from ...contract import Reduction
from ...contract.pooling import check_outer_pool
from ._tensors import check_devices, matmul, specs, wide


def outer_pool(
    x: Tensor,
    y: Tensor | None = None,
    *,
    mask: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Pool the outer products of two feature vectors over all locations.

    ``G[n,c,d] = (1/Z) Σ_l x[n,l,c] · y[n,l,d]`` over the locations kept, where Z is their
    number for ``"mean"`` and 1 for ``"sum"``. ``y=None`` is one stream: y = x.

    Shapes: x (N, L, C), y (N, L, D), mask (N, L) boolean, True where kept -> (N, C, D).
    Gradient: ``(Γ + Γᵀ) x / Z`` for one stream; ``Γ y / Z`` and ``Γᵀ x / Z`` for two.
    Edges: a masked location enters no product, NaN included, and its gradient is 0; a sample
        without a location kept pools to 0 with gradient 0. Half types accumulate in float32.
        On GPUs PyTorch multiplies float32 matrices in TF32 only where
        `torch.set_float32_matmul_precision` allows it.
    Cost: time O(N·L·C·D), twice that for the gradient; memory and output N·C·D beside x and y.
    Raises: ValueError and TypeError as `bilinear.contract.pooling.check_outer_pool`.
    Source: Lin, RoyChowdhury, Maji, ICCV 2015, equations 1 and 2.
    """
    op = "outer_pool"
    check_outer_pool(*specs(op, x, y, mask), reduction)
    check_devices(op, x=x, y=y, mask=mask)
    return pooled(x, y, mask, reduction).to(x.dtype)


def pooled(x: Tensor, y: Tensor | None, mask: Tensor | None, reduction: Reduction) -> Tensor:
    """The unchecked formula, in the accumulation dtype."""
    x_kept = keep(wide(x), mask)
    y_kept = x_kept if y is None else keep(wide(y), mask)
    g = matmul(x_kept.mT, y_kept)
    if reduction == "sum":
        return g
    if mask is None:
        return g / x.shape[1]
    return g / counted(mask, g.dtype)[:, None, None]


def keep(x: Tensor, mask: Tensor | None) -> Tensor:
    """Select, do not multiply: a masked NaN must not survive as 0 · NaN."""
    return x if mask is None else torch.where(mask[..., None], x, 0.0)


def counted(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """How many locations each sample keeps, but 1 for none: the sum is 0 already."""
    return mask.sum(1, dtype=dtype).clamp(min=1)
