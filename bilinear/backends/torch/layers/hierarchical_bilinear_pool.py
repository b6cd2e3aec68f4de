"""`hadamard_pool` of learned projections of several maps as a `torch.nn` module."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ....contract import EPS, L2_EPS, Reduction, check_root_and_norm
from ....contract.arguments import plain_channels
from ....contract.layers import DIM, check_arguments, check_maps
from ...initial_values import projections
from .._tensors import spec, wide
from ..hadamard_pool import pooled
from ..l2_normalize import normalized
from ..low_rank_pool import projected
from ..outer_pool import keep
from ..signed_sqrt import rooted
from ._maps import flattened


class HierarchicalBilinearPool(nn.Module):
    """Bilinear pooling across layers: every two of several maps, projected to one width.

    ``pool(x1, x2, x3, mask=…)`` of maps of one spatial shape is
    ``signed_sqrt(hadamard_pool(x1 u1, x2 u2, x3 u3))``, each pair of which is then scaled to unit
    length by itself.

    Args:
        channels: those of each map, in a list of two or more.
        dim: width of the projections.
        seed: of the initial weights, normal with deviation 1/√Cᵢ, equal in every framework.

    Shapes: x_i (N, Cᵢ, *spatial), mask (N, *spatial) -> (N, pairs · dim), in the order of
        `hadamard_pool`.
    Attributes: u1 (C₁, dim), u2 (C₂, dim), …, learned.
    Precision: the maps decide; weights are cast to the type that theirs is accumulated in.
    Cost: time N·L·dim·(Σ Cᵢ + pairs), memory N·L·dim a map.
    Raises: ValueError and TypeError as `bilinear.contract.low_rank.check_hierarchical_layer` when
        made, as `check_operands` and `low_rank.check_maps` when called.
    Source: Yu et al., "Hierarchical Bilinear Pooling for Fine-Grained Visual Recognition", ECCV
        2018, section 3; one norm a pair is that of ChaojianYu/Hierarchical-Bilinear-Pooling.
    """

    def __init__(
        self,
        channels: Sequence[int],
        dim: int = DIM,
        *,
        seed: int = 0,
        reduction: Reduction = "mean",
        eps: float = EPS,
        l2_eps: float = L2_EPS,
    ) -> None:
        super().__init__()
        op = "HierarchicalBilinearPool"
        check_arguments(op, locals())
        self.channels = plain_channels(channels)
        self.dim, self.seed = dim, seed
        self.reduction: Reduction = reduction
        self.eps, self.l2_eps = eps, l2_eps
        drawn = projections([(c, dim) for c in channels], seed)
        for i, weight in enumerate(drawn, start=1):
            self.register_parameter(f"u{i}", nn.Parameter(torch.from_numpy(weight)))

    def forward(self, x: Tensor, *more: Tensor, mask: Tensor | None = None) -> Tensor:
        op = "HierarchicalBilinearPool"
        maps = [spec(op, f"x{i}", m) for i, m in enumerate((x, *more), start=1)]
        check_maps(op, maps, self.channels, channels_first=True)
        first, others, kept = x, [], None
        for other in more:
            first, flat, kept = flattened(op, x, other, mask)
            others.append(flat)
        check_root_and_norm(op, maps[0].dtype, self.eps, self.l2_eps)
        streams = [
            projected(keep(wide(stream), kept), getattr(self, f"u{i}"))
            for i, stream in enumerate((first, *others), start=1)
        ]
        h = pooled(streams, 1, kept, self.reduction).unflatten(1, (self._pairs, self.dim))
        return normalized(rooted(h, self.eps), self.l2_eps).flatten(1).to(x.dtype)

    def descriptor_size(self, *channels: int) -> int:
        """One `dim` for every pair of maps."""
        del channels
        return self._pairs * self.dim

    @property
    def _pairs(self) -> int:
        maps = len(self.channels)
        return maps * (maps - 1) // 2

    def extra_repr(self) -> str:
        return (
            f"{self.channels}, {self.dim}, seed={self.seed}, reduction={self.reduction!r}, "
            f"eps={self.eps}, l2_eps={self.l2_eps}"
        )
