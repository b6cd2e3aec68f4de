"""`bilinear_pool` as a Keras layer."""

from typing import Any

import keras

from ....contract import EPS, L2_EPS, DescriptorOptions, Norm, Reduction, Root
from ....contract.layer_arguments import BilinearPoolArguments
from .. import operators
from ._feature_map_layer import Pool


@keras.saving.register_keras_serializable(package="bilinear")
class BilinearPool(BilinearPoolArguments, Pool):
    """Bilinear pooling of one feature map, ``pool(x)``, or of two, ``pool(x, y)``.

    Specification: `bilinear.reference.bilinear_pool`. Cost: that of `bilinear_pool`.

    Args:
        reduction: "mean" (default) over the valid locations, or "sum".
        eps: added inside the signed square root; 0 or a normal positive number, default 1e-10.
        l2_eps: lower bound of the norm, a normal positive number, default 1e-12.
        packed: return the upper triangle, with √2 off the diagonal, of one map. Default False.
        root: "signed" (default), or the published variants "shifted" and "unsigned".
        slope_eps: None (default), or positive for the published slope of `signed_sqrt`.
        norm: "floor" (default) or "added", see `l2_normalize`.
        data_format: "channels_last", "channels_first", or None for the default of Keras.
        **kwargs: arguments of `keras.layers.Layer`, such as `dtype` and `name`.

    Shape: (N, *spatial, C) and (N, *spatial, D), in channels_first (N, C, *spatial) -> (N, C·D), or
        (N, C(C+1)/2) if packed.

    Example:
        >>> pool = BilinearPool()
        >>> pool(keras.ops.ones((2, 7, 7, 64))).shape
        TensorShape([2, 4096])
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
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(locals())

    def pool_locations(self, x: Any, y: Any, mask: Any) -> Any:
        forms = self.root, self.slope_eps, self.norm
        options = DescriptorOptions(self.reduction, self.eps, self.l2_eps, self.packed, *forms)
        return operators().bilinear_pool_unchecked(x, y, mask, options)
