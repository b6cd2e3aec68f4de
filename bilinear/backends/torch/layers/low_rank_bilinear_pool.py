"""`low_rank_pool`, root and norm as a `torch.nn` module with learned projections."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ....contract import EPS, L2_EPS, Reduction
from ....contract.layer_arguments import DIM, LowRankBilinearPoolArguments
from ....contract.low_rank import Activation
from ...initial_values import low_rank_projections
from ..low_rank_pool import low_rank_pool_unchecked
from ._feature_map_layer import DataFormat, NormalizedPool


class LowRankBilinearPool(LowRankBilinearPoolArguments, NormalizedPool):
    """Low-rank bilinear pooling with learned projections u and v.

    ``l2_normalize(signed_sqrt(low_rank_pool(x, u, v, y)))``, in the dtype of the feature maps.
    Without activation, ``rank=1`` is the pooling of MLB (Kim et al.), and a larger rank is that of
    MFB (Yu et al.). Parameters: u (C, dim · rank) and v (D, dim · rank).

    Args:
        channels: C for one stream, or [C, D] for two.
        dim: length of the descriptor, a positive integer. Default 8192.
        rank: number of products summed in each entry, a positive integer. Default 1.
        activation: of the projections: ``"tanh"``, ``"relu"``, ``"sigmoid"`` or None. Default None.
        seed: non-negative integer, for equal values in every framework; None is random. Default 0.
        reduction: ``"mean"`` or ``"sum"`` over the valid locations. Default ``"mean"``.
        eps: added inside the signed square root, 0 or a positive number. Default 1e-10.
        l2_eps: lower bound of the norm, a positive number. Default 1e-12.
        data_format: ``"channels_first"`` (default), or ``"channels_last"``, (N, *spatial, C).
        device: device of the parameters; None is PyTorch's default device.
        dtype: `torch.dtype` of the parameters, or its name; None is `torch.get_default_dtype()`.

    Shape: x (N, C, *spatial), y (N, D, *spatial), mask (N, *spatial) -> (N, dim).
    Cost: that of `low_rank_pool` with R = dim · rank; the parameters are (C + D) · R.

    Example:
        >>> LowRankBilinearPool(512, 1024)(torch.rand(2, 512, 28, 28)).shape
        torch.Size([2, 1024])

    References: Kim et al., ICLR 2017, section 3; Yu et al., ICCV 2017, section 3.
    """

    class_name = "LowRankBilinearPool"

    def __init__(
        self,
        channels: int | Sequence[int],
        dim: int = DIM,
        *,
        rank: int = 1,
        activation: Activation = None,
        seed: int | None = 0,
        reduction: Reduction = "mean",
        eps: float = EPS,
        l2_eps: float = L2_EPS,
        data_format: DataFormat = "channels_first",
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | str | None = None,
    ) -> None:
        super().__init__(locals())
        u, v = low_rank_projections(self.channels, self.dim, self.rank, self.seed)
        self.add_learned(device, dtype, u=u, v=v)

    def forward(self, x: Tensor, y: Tensor | None = None, *, mask: Tensor | None = None) -> Tensor:
        x, y, mask = self.to_locations(x, y, mask, self.channels, self.eps_options)
        settings = self.activation, self.rank, mask, self.reduction
        h = low_rank_pool_unchecked(x, self.u, self.v, y, *settings)
        return self.root_and_norm(h).to(x.dtype)
