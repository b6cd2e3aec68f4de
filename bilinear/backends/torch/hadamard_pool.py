"""The pooled element-wise products of streams."""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from ...contract import Reduction
from ...contract.low_rank import check_hadamard_pool
from ._fx import leaf
from ._tensors import check_devices, spec, upcast
from .outer_pool import divide_by_count, select_locations


@leaf
def hadamard_pool(
    x: Tensor,
    y: Tensor,
    *more: Tensor,
    rank: int = 1,
    mask: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Pool the element-wise products of every pair of streams over all locations.

    `bilinear.reference.hadamard_pool` specifies the values, gradients and errors.

    Args:
        x: features of the first stream, (N, L, R).
        y: features of the second stream, (N, L, R).
        more: features of further streams, (N, L, R) each.
        rank: number of consecutive channels that are summed, a divisor of R. Default 1.
        mask: boolean, (N, L), True at valid locations; None is all. Default None.
        reduction: ``"mean"`` or ``"sum"`` over the valid locations. Default ``"mean"``.

    Returns: Sums (N, pairs · R / rank) in the dtype of x, in the order (0, 1), (0, 2), …, (1, 2), …
    Cost: time and memory N·L·R for each pair. No array of size R² is formed.

    Example:
        >>> hadamard_pool(torch.rand(2, 49, 8), torch.rand(2, 49, 8), rank=2).shape
        torch.Size([2, 4])
    """
    op, names = "hadamard_pool", ["x", "y", *(f"more[{i}]" for i in range(len(more)))]
    streams = dict(zip(names, (x, y, *more), strict=True))
    of_mask = None if mask is None else spec(op, "mask", mask)
    received = [spec(op, name, stream) for name, stream in streams.items()]
    check_hadamard_pool(received, rank, of_mask, reduction)
    check_devices(op, **streams, mask=mask)
    upcasted = [upcast(s) for s in streams.values()]
    return hadamard_pool_unchecked(upcasted, rank, mask, reduction).to(x.dtype)


def hadamard_pool_unchecked(
    streams: Sequence[Tensor], rank: int, mask: Tensor | None, reduction: Reduction
) -> Tensor:
    """The unchecked formula, of streams in the accumulation dtype."""
    kept = [select_locations(stream, mask) for stream in streams]
    h = torch.cat([(a * b).sum(1) for a, b in itertools.combinations(kept, 2)], 1)
    if rank > 1:
        h = h.unflatten(1, (h.shape[1] // rank, rank)).sum(2)
    return divide_by_count(h, kept[0].shape[1], mask, reduction)
