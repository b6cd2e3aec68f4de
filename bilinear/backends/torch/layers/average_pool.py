"""The mean over all locations as a `torch.nn` module."""

from torch import Tensor, nn

from ....contract.pooling import check_one_stream
from .._tensors import upcast
from ..outer_pool import count_locations, select_locations
from ._construction import set_arguments, text
from ._feature_maps import DataFormat, to_locations


class AveragePool(nn.Module):
    """The mean of a feature map over its valid locations: the baseline for the other pools.

    ``z[n, c] = (1/Z) Σ_l x[n, l, c]``, without root and without normalization.

    Args:
        data_format: ``"channels_first"`` for maps (N, C, *spatial) or ``"channels_last"`` for
            (N, *spatial, C), such as the tokens (N, L, C) of a ViT. A mask is (N, *spatial).
            Default ``"channels_first"``.

    Shape: x (N, C, *spatial), mask (N, *spatial) boolean -> (N, C).
    Cost: time N·L·C.

    Example:
        >>> AveragePool()(torch.rand(2, 512, 28, 28)).shape
        torch.Size([2, 512])
    """

    data_format: DataFormat

    def __init__(self, *, data_format: DataFormat = "channels_first") -> None:
        super().__init__()
        set_arguments(self, "AveragePool", locals())

    def forward(self, x: Tensor, *, mask: Tensor | None = None) -> Tensor:
        x, _, mask = to_locations("AveragePool", self.data_format, x, None, mask)
        total = select_locations(upcast(x), mask).sum(1)
        count = x.shape[1] if mask is None else count_locations(mask, total.dtype)[:, None]
        return (total / count).to(x.dtype)

    def descriptor_size(self, channels: int, channels_b: int | None = None) -> int:
        """C; ValueError for two streams."""
        check_one_stream("AveragePool", channels, channels_b)
        return channels

    def extra_repr(self) -> str:
        return text(self, "AveragePool")
