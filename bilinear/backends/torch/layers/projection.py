"""A learned projection of the channels of feature maps, to put in front of a pooling."""

from typing import Literal

import torch
from torch import Tensor, nn

from ....contract.layers import check_arguments, check_maps
from ...initial_values import projections
from .._tensors import spec, wide
from ..low_rank_pool import activated, projected
from ..outer_pool import keep
from ._maps import flattened


class Projection(nn.Module):
    """A 1×1 convolution without bias: every location's C channels to `dim`.

    It makes wide networks fit: bilinear pooling of 2048 channels would have 4 million features,
    of 128 projected ones 16 thousand.

    Args:
        channels: C.
        dim: channels of the result.
        activation: None, or ``"relu"``, whose slope at exactly 0 is 0.
        seed: of the initial weights, normal with deviation 1/√C, equal in every framework.

    Shapes: x (N, C, *spatial), mask (N, *spatial) boolean, True where kept -> (N, dim, *spatial),
        any number of spatial axes.
    Edges: a masked location enters nothing, NaN included; its result and its gradient are 0.
    Attributes: weight (dim, C), learned.
    Precision: the map decides; the weight is cast to the type that its products are summed in.
    Cost: time N·L·C·dim, memory N·L·dim.
    Raises: ValueError and TypeError as `bilinear.contract.low_rank.check_projection_layer` when
        made, as `check_operands` and `low_rank.check_maps` when called.
    """

    def __init__(
        self,
        channels: int,
        dim: int,
        *,
        activation: Literal["relu"] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_arguments("Projection", locals())
        self.channels, self.dim, self.seed = channels, dim, seed
        self.activation: Literal["relu"] | None = activation
        (weight,) = projections([(channels, dim)], seed)
        self.weight = nn.Parameter(torch.from_numpy(weight.T.copy()))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        op = "Projection"
        flat, _, kept = flattened(op, x, None, mask)
        check_maps(op, [spec(op, "x", x)], self.channels, channels_first=True)
        p = activated(projected(keep(wide(flat), kept), self.weight.mT), self.activation)
        return p.mT.reshape(x.shape[0], self.dim, *x.shape[2:]).to(x.dtype)

    def extra_repr(self) -> str:
        sizes = f"{self.channels}, {self.dim}"
        return f"{sizes}, activation={self.activation!r}, seed={self.seed}"
