"""`bilinear_pool` as a `torch.nn` module."""

from torch import Tensor

from ....contract import EPS, L2_EPS, DescriptorOptions, Norm, Reduction, Root
from ....contract.layer_arguments import BilinearPoolArguments
from ..bilinear_pool import bilinear_pool_unchecked
from ._feature_map_layer import DataFormat, NormalizedPool


class BilinearPool(BilinearPoolArguments, NormalizedPool):
    """Bilinear pooling of feature maps: `bilinear_pool` over all their locations.

    ``pool(x)`` pools one stream with itself, ``pool(x, y)`` pools two streams. The specification
    is `bilinear.reference.bilinear_pool`.

    Args:
        reduction: ``"mean"`` or ``"sum"`` over the valid locations. Default ``"mean"``.
        eps: added inside the signed square root, 0 or a positive number. Default 1e-10.
        l2_eps: lower bound of the norm, a positive number. Default 1e-12.
        packed: whether to return the upper triangle of one stream, C(C+1)/2 values. Default False.
        root: ``"signed"`` (default), ``"shifted"`` or ``"unsigned"``, see `signed_sqrt`.
        slope_eps: positive number for the published slope ``1 / (2 (√|g| + slope_eps))``, which
            needs ``root="signed"`` and ``eps=0``; None is the derivative. Default None.
        norm: ``"floor"`` or ``"added"``, see `l2_normalize`. Default ``"floor"``.
        data_format: ``"channels_first"`` (default), or ``"channels_last"``, (N, *spatial, C).

    Shape: x (N, C, *spatial), y (N, D, *spatial), mask (N, *spatial) -> (N, C·D), or
        (N, C(C+1)/2) if packed. Spatial shapes are equal, of any number of axes (ViT tokens: 1).
    Cost: that of `bilinear_pool`.

    Example:
        >>> pool = BilinearPool()
        >>> pool(torch.rand(2, 512, 28, 28)).shape
        torch.Size([2, 262144])
    """

    class_name = "BilinearPool"

    def __init__(
        self,
        reduction: Reduction = "mean",
        *,
        eps: float = EPS,
        l2_eps: float = L2_EPS,
        packed: bool = False,
        root: Root = "signed",
        slope_eps: float | None = None,
        norm: Norm = "floor",
        data_format: DataFormat = "channels_first",
    ) -> None:
        super().__init__(locals())

    def forward(self, x: Tensor, y: Tensor | None = None, *, mask: Tensor | None = None) -> Tensor:
        forms = self.root, self.slope_eps, self.norm
        options = DescriptorOptions(self.reduction, self.eps, self.l2_eps, self.packed, *forms)
        x, y, mask = self.to_locations(x, y, mask, options=options)
        return bilinear_pool_unchecked(x, y, mask, options)
