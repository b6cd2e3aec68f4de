"""`low_rank_pool`, root and norm as a `torch.nn` module with learned projections."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ....contract import EPS, L2_EPS, DescriptorOptions, Reduction
from ....contract.layers import DIM
from ....contract.low_rank import Activation
from ...initial_values import low_rank_projections
from ..l2_normalize import l2_normalize_unchecked
from ..low_rank_pool import low_rank_pool_unchecked
from ..signed_sqrt import signed_sqrt_unchecked
from ._construction import parameter, set_arguments, tensor_options, text
from ._feature_maps import DataFormat, to_locations


class LowRankBilinearPool(nn.Module):
    """Low-rank bilinear pooling with learned projections u and v.

    ``l2_normalize(signed_sqrt(low_rank_pool(x, u, v, y)))``: each of the `dim` entries of the
    descriptor is a bilinear form of rank at most `rank`. Without activation, ``rank=1`` is the
    pooling of MLB (Kim et al.), and a larger rank is that of MFB (Yu et al.). Parameters:
    u (C, dim · rank) and v (D, dim · rank). The descriptor has the dtype of the feature maps; the
    parameters are cast to their accumulation dtype.

    Args:
        channels: C for one stream, or [C, D] for two.
        dim: length of the descriptor, a positive integer. Default 8192.
        rank: number of products summed in each entry, a positive integer. Default 1.
        activation: of the projections: ``"tanh"``, ``"relu"``, ``"sigmoid"`` or None. Default None.
        seed: non-negative integer; the same seed gives the same initial values in every framework.
            None draws random initial values. Default 0.
        reduction: ``"mean"`` divides by the number of valid locations, ``"sum"`` does not.
            Default ``"mean"``.
        eps: added inside the signed square root, 0 or a positive number. Default 1e-10.
        l2_eps: lower bound of the norm, a positive number. Default 1e-12.
        data_format: ``"channels_first"`` for maps (N, C, *spatial) or ``"channels_last"`` for
            (N, *spatial, C), such as the tokens (N, L, C) of a ViT. A mask is (N, *spatial).
            Default ``"channels_first"``.
        device: device of the parameters; None is PyTorch's default device.
        dtype: `torch.dtype` of the parameters, or its name; None is `torch.get_default_dtype()`.

    Shape: x (N, C, *spatial), y (N, D, *spatial), mask (N, *spatial) -> (N, dim).
    Cost: that of `low_rank_pool` with R = dim · rank; the parameters are (C + D) · R.

    Example:
        >>> LowRankBilinearPool(512, 1024)(torch.rand(2, 512, 28, 28)).shape
        torch.Size([2, 1024])

    References:
        Kim et al., ICLR 2017, section 3; Yu et al., ICCV 2017, section 3.
    """

    channels: int | list[int]
    dim: int
    rank: int
    activation: Activation
    seed: int | None
    reduction: Reduction
    eps: float
    l2_eps: float
    data_format: DataFormat

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
        super().__init__()
        set_arguments(self, "LowRankBilinearPool", locals())
        options = tensor_options("LowRankBilinearPool", device, dtype)
        u, v = low_rank_projections(self.channels, self.dim, self.rank, self.seed)
        self.u, self.v = parameter(u, options), parameter(v, options)

    def forward(self, x: Tensor, y: Tensor | None = None, *, mask: Tensor | None = None) -> Tensor:
        options = DescriptorOptions(eps=self.eps, l2_eps=self.l2_eps)
        op, layout = "LowRankBilinearPool", self.data_format
        x, y, mask = to_locations(op, layout, x, y, mask, self.channels, options)
        settings = self.activation, self.rank, mask, self.reduction
        h = low_rank_pool_unchecked(x, self.u, self.v, y, *settings)
        return l2_normalize_unchecked(signed_sqrt_unchecked(h, self.eps), self.l2_eps).to(x.dtype)

    def descriptor_size(self, channels: int, channels_b: int | None = None) -> int:
        """`dim`, for any channels."""
        return self.dim

    def extra_repr(self) -> str:
        return text(self, "LowRankBilinearPool")
