"""`outer_max_pool` with root and norm as a `torch.nn` module."""

from torch import Tensor, nn

from ....contract import EPS, L2_EPS, DescriptorOptions
from ..l2_normalize import l2_normalize_unchecked
from ..outer_max_pool import outer_max_pool_unchecked
from ..signed_sqrt import signed_sqrt_unchecked
from ._construction import set_arguments, text
from ._feature_maps import DataFormat, to_locations


class OuterMaxPool(nn.Module):
    """The largest product of each pair of channels over all locations, with root and norm.

    ``l2_normalize(signed_sqrt(flatten(outer_max_pool(x, y))))``: `BilinearPool` with the maximum
    instead of the mean.

    Args:
        eps: added inside the signed square root, 0 or a positive number. Default 1e-10.
        l2_eps: lower bound of the norm, a positive number. Default 1e-12.
        data_format: ``"channels_first"`` for maps (N, C, *spatial) or ``"channels_last"`` for
            (N, *spatial, C), such as the tokens (N, L, C) of a ViT. A mask is (N, *spatial).
            Default ``"channels_first"``.

    Shape: x (N, C, *spatial), y (N, D, *spatial), mask (N, *spatial) -> (N, C·D).
    Cost: that of `outer_max_pool`.

    Example:
        >>> OuterMaxPool()(torch.rand(2, 64, 7, 7)).shape
        torch.Size([2, 4096])
    """

    eps: float
    l2_eps: float
    data_format: DataFormat

    def __init__(
        self,
        *,
        eps: float = EPS,
        l2_eps: float = L2_EPS,
        data_format: DataFormat = "channels_first",
    ) -> None:
        super().__init__()
        set_arguments(self, "OuterMaxPool", locals())

    def forward(self, x: Tensor, y: Tensor | None = None, *, mask: Tensor | None = None) -> Tensor:
        options = DescriptorOptions(eps=self.eps, l2_eps=self.l2_eps)
        op, layout = "OuterMaxPool", self.data_format
        x, y, mask = to_locations(op, layout, x, y, mask, options=options)
        s = signed_sqrt_unchecked(outer_max_pool_unchecked(x, y, mask).flatten(1), self.eps)
        return l2_normalize_unchecked(s, self.l2_eps).to(x.dtype)

    def descriptor_size(self, channels: int, channels_b: int | None = None) -> int:
        """C·D, or C² of one stream."""
        return channels * (channels if channels_b is None else channels_b)

    def extra_repr(self) -> str:
        return text(self, "OuterMaxPool")
