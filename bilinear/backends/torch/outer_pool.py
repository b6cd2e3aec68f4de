"""The pooled outer product of location features."""

import torch
from torch import Tensor

from ...contract import Reduction
from ...contract.pooling import check_outer_pool
from ._fx import leaf
from ._tensors import matmul, specs, upcast


@leaf
def outer_pool(
    x: Tensor,
    y: Tensor | None = None,
    *,
    mask: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Pool the outer products of two feature vectors over all locations.

    `bilinear.reference.outer_pool` specifies the values, gradients and errors.
    On GPUs PyTorch multiplies float32 matrices in TF32 only where
    `torch.set_float32_matmul_precision` allows it.

    Args:
        x: features of the first stream, (N, L, C).
        y: features of the second stream, (N, L, D); None is one stream, y = x. Default None.
        mask: boolean, (N, L), True at valid locations; None is all. Default None.
        reduction: ``"mean"`` or ``"sum"`` over the valid locations. Default ``"mean"``.

    Returns: Matrices (N, C, D) in the dtype of x.
    Cost: time O(N·L·C·D), twice that for the gradient; memory N·C·D beside x and y.

    Example:
        >>> outer_pool(torch.rand(2, 49, 8), torch.rand(2, 49, 4)).shape
        torch.Size([2, 8, 4])
    """
    op = "outer_pool"
    check_outer_pool(*specs(op, x, y, mask), reduction)
    return outer_pool_unchecked(x, y, mask, reduction).to(x.dtype)


def outer_pool_unchecked(
    x: Tensor, y: Tensor | None, mask: Tensor | None, reduction: Reduction
) -> Tensor:
    """The unchecked formula, in the accumulation dtype."""
    x_kept = select_locations(upcast(x), mask)
    y_kept = x_kept if y is None else select_locations(upcast(y), mask)
    g = matmul(x_kept.transpose(-2, -1), y_kept, x.dtype, x.dtype)
    return divide_by_count(g, x.shape[1], mask, reduction)


def select_locations(x: Tensor, mask: Tensor | None) -> Tensor:
    """Replace features where the mask is False by 0; a product with 0 would let NaN survive."""
    return x if mask is None else torch.where(mask[..., None], x, 0.0)


def divide_by_count(g: Tensor, locations: int, mask: Tensor | None, reduction: str) -> Tensor:
    """Sums over locations (N, ...), divided by Z."""
    if reduction == "sum":
        return g
    if mask is None:
        return g / locations
    return g / count_locations(mask, g.dtype)[(..., *[None] * (g.ndim - 1))]


def count_locations(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """The number of valid locations of each sample, but 1 for none, where the sum is 0 already."""
    return mask.sum(1, dtype=dtype).clamp(min=1)
