"""`outer_max_pool` with root and norm as a `torch.nn` module."""

from torch import Tensor

from ....contract import EPS, L2_EPS
from ....contract.layer_arguments import OuterMaxPoolArguments
from ..outer_max_pool import outer_max_pool_unchecked
from ._feature_map_layer import DataFormat, NormalizedPool


class OuterMaxPool(OuterMaxPoolArguments, NormalizedPool):
    """The largest product of each pair of channels over all locations, with root and norm.

    ``l2_normalize(signed_sqrt(flatten(outer_max_pool(x, y))))``: `BilinearPool` with the maximum
    instead of the mean.

    Args:
        eps: added inside the signed square root, 0 or a positive number. Default 1e-10.
        l2_eps: lower bound of the norm, a positive number. Default 1e-12.
        data_format: ``"channels_first"`` (default), or ``"channels_last"``, (N, *spatial, C).

    Shape: x (N, C, *spatial), y (N, D, *spatial), mask (N, *spatial) -> (N, C·D).
    Cost: that of `outer_max_pool`.

    Example:
        >>> OuterMaxPool()(torch.rand(2, 64, 7, 7)).shape
        torch.Size([2, 4096])
    """

    class_name = "OuterMaxPool"

    def __init__(
        self,
        *,
        eps: float = EPS,
        l2_eps: float = L2_EPS,
        data_format: DataFormat = "channels_first",
    ) -> None:
        super().__init__(locals())

    def forward(self, x: Tensor, y: Tensor | None = None, *, mask: Tensor | None = None) -> Tensor:
        x, y, mask = self.to_locations(x, y, mask, options=self.eps_options)
        return self.root_and_norm(outer_max_pool_unchecked(x, y, mask).flatten(1)).to(x.dtype)
