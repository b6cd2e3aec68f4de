"""`outer_max_pool` with root and norm as a Keras layer."""

from typing import Any

import keras

from ....contract import EPS, L2_EPS
from ....contract.layer_arguments import OuterMaxPoolArguments
from .. import operators
from ._feature_map_layer import Pool, flatten


@keras.saving.register_keras_serializable(package="bilinear")
class OuterMaxPool(OuterMaxPoolArguments, Pool):
    """`BilinearPool` with the maximum over the locations instead of the mean.

    ``l2_normalize(signed_sqrt(flatten(outer_max_pool(x, y))))`` of one or two feature maps.
    Specification: `bilinear.reference.outer_max_pool`. Cost: that of `outer_max_pool`.

    Args:
        eps: added inside the signed square root; 0 or a normal positive number, default 1e-10.
        l2_eps: lower bound of the norm, a normal positive number, default 1e-12.
        data_format: "channels_last", "channels_first", or None for the default of Keras.
        **kwargs: arguments of `keras.layers.Layer`, such as `dtype` and `name`.

    Shape: (N, *spatial, C) and (N, *spatial, D), in channels_first (N, C, *spatial) -> (N, C·D).
    """

    class_name = "OuterMaxPool"

    def __init__(
        self,
        *,
        eps: float = EPS,
        l2_eps: float = L2_EPS,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(locals())

    def pool_locations(self, x: Any, y: Any, mask: Any) -> Any:
        return self.root_and_norm(flatten(operators().outer_max_pool_unchecked(x, y, mask)), x)
