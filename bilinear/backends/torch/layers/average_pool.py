"""The mean over all locations as a `torch.nn` module."""

from torch import Tensor

from .._tensors import upcast
from ..outer_pool import divide_by_count, select_locations
from ._feature_map_layer import DataFormat, Pool


class AveragePool(Pool):
    """The mean of a feature map over its valid locations: the baseline for the other pools.

    ``z[n, c] = (1/Z) Σ_l x[n, l, c]``, without root and without normalization.

    Args:
        data_format: ``"channels_first"`` (default), or ``"channels_last"``, (N, *spatial, C).

    Shape: x (N, C, *spatial), mask (N, *spatial) boolean -> (N, C).
    Cost: time N·L·C.

    Example:
        >>> AveragePool()(torch.rand(2, 512, 28, 28)).shape
        torch.Size([2, 512])
    """

    class_name = "AveragePool"

    def __init__(self, *, data_format: DataFormat = "channels_first") -> None:
        super().__init__(locals())

    def forward(self, x: Tensor, *, mask: Tensor | None = None) -> Tensor:
        x, _, mask = self.to_locations(x, None, mask)
        total = select_locations(upcast(x), mask).sum(1)
        return divide_by_count(total, x.shape[1], mask, "mean").to(x.dtype)
