"""A learned projection of the channels of a feature map, to put in front of a pooling layer."""

from typing import Literal

import torch
from torch import Tensor

from ....contract.layer_arguments import ProjectionArguments
from ...initial_values import projections
from .._tensors import upcast
from ..low_rank_pool import activate, project
from ..outer_pool import select_locations
from ._feature_map_layer import DataFormat, FeatureMapLayer


class Projection(ProjectionArguments, FeatureMapLayer):
    """A 1×1 convolution without bias: the C channels of each location become `dim`.

    Use it before bilinear pooling of wide networks: 2048 channels give a descriptor of 4 million
    values, 128 channels one of 16 thousand. Parameter: weight (dim, C).

    Args:
        channels: C, a positive integer.
        dim: number of channels of the result, a positive integer.
        activation: None, or ``"relu"``, whose slope at exactly 0 is 0. Default None.
        seed: non-negative integer, for equal values in every framework; None is random. Default 0.
        data_format: ``"channels_first"`` (default), or ``"channels_last"``, (N, *spatial, C).
        device: device of the parameters; None is PyTorch's default device.
        dtype: `torch.dtype` of the parameters, or its name; None is `torch.get_default_dtype()`.

    Shape: x (N, C, *spatial), mask (N, *spatial) boolean -> (N, dim, *spatial). Locations where
        the mask is False give 0 and have gradient 0.
    Cost: time N·L·C·dim, memory N·L·dim.

    Example:
        >>> Projection(2048, 128)(torch.rand(2, 2048, 14, 14)).shape
        torch.Size([2, 128, 14, 14])
    """

    class_name = "Projection"

    def __init__(
        self,
        channels: int,
        dim: int,
        *,
        activation: Literal["relu"] | None = None,
        seed: int | None = 0,
        data_format: DataFormat = "channels_first",
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | str | None = None,
    ) -> None:
        super().__init__(locals())
        (weight,) = projections([(self.channels, self.dim)], self.seed)
        self.add_learned(device, dtype, weight=weight.T)

    def forward(self, x: Tensor, *, mask: Tensor | None = None) -> Tensor:
        flat, _, valid = self.to_locations(x, None, mask, self.channels)
        p = project(
            select_locations(upcast(flat), valid),
            self.weight.transpose(-2, -1),
            x.dtype,
            self.weight.dtype,
        )
        return self.to_feature_map(activate(p, self.activation), x).to(x.dtype)
