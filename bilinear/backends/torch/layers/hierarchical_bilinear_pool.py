"""`hadamard_pool` of learned projections of several maps as a `torch.nn` module."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ....contract import EPS, L2_EPS, Reduction
from ....contract.layer_arguments import DIM, HierarchicalBilinearPoolArguments
from ....contract.layers import check_maps
from ...initial_values import projections
from .._tensors import spec, upcast
from ..hadamard_pool import hadamard_pool_unchecked
from ..low_rank_pool import project
from ..outer_pool import select_locations
from ._feature_map_layer import DataFormat, NormalizedPool


class HierarchicalBilinearPool(HierarchicalBilinearPoolArguments, NormalizedPool):
    """Bilinear pooling across layers: pool every pair of feature maps after a projection.

    ``pool(x1, x2, x3)`` is ``signed_sqrt(hadamard_pool(x1 u1, x2 u2, x3 u3))``, where the
    descriptor of each pair is normalized separately. Parameters: u1 (C₁, dim), u2 (C₂, dim), …

    Args:
        channels: number of channels of each map, a list of two or more positive integers.
        dim: number of channels after the projections, a positive integer. Default 8192.
        seed: non-negative integer, for equal values in every framework; None is random. Default 0.
        reduction: ``"mean"`` or ``"sum"`` over the valid locations. Default ``"mean"``.
        eps: added inside the signed square root, 0 or a positive number. Default 1e-10.
        l2_eps: lower bound of the norm, a positive number. Default 1e-12.
        data_format: ``"channels_first"`` (default), or ``"channels_last"``, (N, *spatial, C).
        device: device of the parameters; None is PyTorch's default device.
        dtype: `torch.dtype` of the parameters, or its name; None is `torch.get_default_dtype()`.

    Shape: x_i (N, Cᵢ, *spatial), mask (N, *spatial) -> (N, pairs · dim), in the order of
        `hadamard_pool`. Spatial shapes are equal.
    Cost: time N·L·dim·(Σ Cᵢ + pairs), memory N·L·dim for each map.

    Example:
        >>> x = torch.rand(2, 512, 28, 28)
        >>> HierarchicalBilinearPool([512, 512, 512], 1024)(x, x, x).shape
        torch.Size([2, 3072])

    References: Yu et al., "Hierarchical Bilinear Pooling for Fine-Grained Visual Recognition", ECCV
        2018, section 3; one norm for each pair as in ChaojianYu/Hierarchical-Bilinear-Pooling.
    """

    class_name = "HierarchicalBilinearPool"

    def __init__(
        self,
        channels: Sequence[int],
        dim: int = DIM,
        *,
        seed: int | None = 0,
        reduction: Reduction = "mean",
        eps: float = EPS,
        l2_eps: float = L2_EPS,
        data_format: DataFormat = "channels_first",
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | str | None = None,
    ) -> None:
        super().__init__(locals())
        weights = projections([(c, self.dim) for c in self.channels], self.seed)
        self.add_learned(device, dtype, **{f"u{i}": w for i, w in enumerate(weights, start=1)})

    def forward(self, x: Tensor, *more: Tensor, mask: Tensor | None = None) -> Tensor:
        op, channels_first = self.class_name, self.data_format == "channels_first"
        maps = [spec(op, f"x{i}", m) for i, m in enumerate((x, *more), start=1)]
        check_maps(op, maps, self.channels, channels_first=channels_first)
        first, others, valid = x, [], None
        for other in more:
            first, flat, valid = self.to_locations(x, other, mask, options=self.eps_options)
            others.append(flat)
        weights = [getattr(self, f"u{i}") for i in range(1, len(maps) + 1)]
        streams = [
            project(select_locations(upcast(stream), valid), u, stream.dtype, u.dtype)
            for stream, u in zip((first, *others), weights, strict=True)
        ]
        h = hadamard_pool_unchecked(streams, 1, valid, self.reduction)
        of_pairs = h.reshape(h.shape[0], math.comb(len(maps), 2), self.dim)
        return self.root_and_norm(of_pairs).flatten(1).to(x.dtype)

    def descriptor_size(self, *channels: int) -> int:
        """`dim` for each pair of maps."""
        return math.comb(len(self.channels), 2) * self.dim
