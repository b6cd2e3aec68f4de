"""`low_rank_pool`, root and norm as a `torch.nn` module with learned projections."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ....contract import DIM, EPS, L2_EPS, Reduction, check_power
from ....contract.low_rank import (
    Activation,
    check_low_rank_layer,
    check_maps,
    low_rank_projections,
    plain,
)
from .._tensors import spec
from ..l2_normalize import normalized
from ..low_rank_pool import factored
from ..signed_sqrt import rooted
from ._maps import flattened


class LowRankBilinearPool(nn.Module):
    """Low-rank bilinear pooling of feature maps, with learned u and v.

    ``l2_normalize(signed_sqrt(low_rank_pool(x, u, v, y)))`` of their locations: each of the `rank`
    entries of the descriptor is a bilinear form of rank `factors`. Without activation and
    ``factors=1`` this is the pooling of MLB, with more factors that of MFB.

    Args:
        channels: C for one stream, or [C, D] for two.
        rank: length of the descriptor.
        factors: products summed in each entry.
        activation: of the projections, None, ``"tanh"``, ``"relu"`` or ``"sigmoid"``.
        seed: of the initial weights, normal with deviation 1/√C, equal in every framework.

    Shapes: x (N, C, *spatial), y (N, D, *spatial), mask (N, *spatial) -> (N, rank).
    Attributes: u (C, rank · factors), v (D, rank · factors), learned.
    Precision: the maps decide; weights are cast to the type that theirs is accumulated in.
    Cost: as `low_rank_pool`, with R = rank · factors; the weights are (C + D) · R.
    Raises: ValueError and TypeError as `bilinear.contract.low_rank.check_low_rank_layer` when made,
        as `check_operands` and `low_rank.check_maps` when called.
    Source: Kim et al., ICLR 2017, section 3; Yu et al., ICCV 2017, section 3.
    """

    def __init__(
        self,
        channels: int | Sequence[int],
        rank: int = DIM,
        *,
        factors: int = 1,
        activation: Activation = None,
        seed: int = 0,
        reduction: Reduction = "mean",
        eps: float = EPS,
        l2_eps: float = L2_EPS,
    ) -> None:
        super().__init__()
        settings = factors, activation, seed, reduction, eps, l2_eps
        check_low_rank_layer("LowRankBilinearPool", channels, rank, *settings)
        self.channels = plain(channels)
        self.rank, self.factors, self.seed = rank, factors, seed
        self.activation: Activation = activation
        self.reduction: Reduction = reduction
        self.eps, self.l2_eps = eps, l2_eps
        u, v = low_rank_projections(channels, rank, factors, seed)
        self.u = nn.Parameter(torch.from_numpy(u))
        self.v = nn.Parameter(torch.from_numpy(v))

    def forward(self, x: Tensor, y: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        op = "LowRankBilinearPool"
        maps = [spec(op, name, m) for name, m in (("x", x), ("y", y)) if m is not None]
        check_maps(op, maps, self.channels, channels_first=True)
        x, y, mask = flattened(op, x, y, mask)
        check_power(op, maps[0].dtype, self.eps, self.l2_eps)
        h = factored(x, self.u, self.v, y, self.activation, self.factors, mask, self.reduction)
        return normalized(rooted(h, self.eps), self.l2_eps).to(x.dtype)

    def descriptor_size(self, channels: int, channels_b: int | None = None) -> int:
        """`rank`, whatever the channels."""
        del channels, channels_b
        return self.rank

    def extra_repr(self) -> str:
        return (
            f"{self.channels}, {self.rank}, factors={self.factors}, "
            f"activation={self.activation!r}, seed={self.seed}, reduction={self.reduction!r}, "
            f"eps={self.eps}, l2_eps={self.l2_eps}"
        )
