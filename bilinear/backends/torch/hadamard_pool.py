"""The pooled element-wise products of streams."""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from ...contract import Reduction
from ...contract.low_rank import check_hadamard_pool
from ._tensors import check_devices, spec, wide
from .outer_pool import counted, keep


def hadamard_pool(
    x: Tensor,
    y: Tensor,
    *more: Tensor,
    rank: int = 1,
    mask: Tensor | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Pool the element-wise products of every two streams over all locations.

    For streams i < j, in the order (0, 1), (0, 2), …, (1, 2), …:
    ``h[n,k] = (1/Z) Σ_l Σ_r xᵢ[n,l,r] · xⱼ[n,l,r]`` over the locations kept and the `rank`
    consecutive channels r of window k, where Z is the number of locations kept for ``"mean"`` and
    1 for ``"sum"``.

    Shapes: each stream (N, L, R), mask (N, L) boolean, True where kept
        -> (N, pairs · R / rank), pair by pair.
    Gradient: ``γ ∘ xⱼ / Z`` and ``γ ∘ xᵢ / Z``, γ spread over its window, summed over pairs.
    Edges: a masked location enters no product, NaN included, and its gradient is 0; a sample
        without a location kept pools to 0 with gradient 0. Half types accumulate in float32.
    Cost: time and memory N·L·R a pair; nothing of size R².
    Raises: ValueError and TypeError as `bilinear.contract.low_rank.check_hadamard_pool`.
    Source: Kim et al., ICLR 2017, section 3; Yu et al., ICCV 2017, section 3; Yu et al., ECCV 2018.
    """
    op, names = "hadamard_pool", ["x", "y", *(f"more[{i}]" for i in range(len(more)))]
    streams = dict(zip(names, (x, y, *more), strict=True))
    of_mask = None if mask is None else spec(op, "mask", mask)
    described = [spec(op, name, stream) for name, stream in streams.items()]
    check_hadamard_pool(described, rank, of_mask, reduction)
    check_devices(op, **streams, mask=mask)
    return pooled([wide(s) for s in streams.values()], rank, mask, reduction).to(x.dtype)


def pooled(
    streams: Sequence[Tensor], rank: int, mask: Tensor | None, reduction: Reduction
) -> Tensor:
    """The unchecked formula, of streams in the accumulation dtype."""
    kept = [keep(stream, mask) for stream in streams]
    sums = [(a * b).sum(1) for a, b in itertools.combinations(kept, 2)]
    h = torch.cat(sums, 1)
    if rank > 1:
        h = h.unflatten(1, (h.shape[1] // rank, rank)).sum(2)
    return averaged(h, kept[0].shape[1], mask, reduction)


def averaged(h: Tensor, locations: int, mask: Tensor | None, reduction: Reduction) -> Tensor:
    """Sums over locations (N, K), divided by Z."""
    if reduction == "sum":
        return h
    return h / (locations if mask is None else counted(mask, h.dtype)[:, None])
