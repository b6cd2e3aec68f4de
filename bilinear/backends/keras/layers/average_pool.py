"""The mean over all locations as a Keras layer."""

from typing import Any

import keras

from .. import operators
from ._feature_map_layer import Pool


@keras.saving.register_keras_serializable(package="bilinear")
class AveragePool(Pool):
    """Mean of a feature map over all locations: the baseline for the other pools.

    ``z[n, c] = (1/Z) Σ_l x[n, l, c]`` over the Z valid locations, without root and norm. Cost: time
    N·L·C.

    Args:
        data_format: "channels_last", "channels_first", or None for the default of Keras.
        **kwargs: arguments of `keras.layers.Layer`, such as `dtype` and `name`.

    Shape: (N, *spatial, C), in channels_first (N, C, *spatial) -> (N, C).
    """

    class_name = "AveragePool"

    def __init__(self, *, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(locals())

    def pool_locations(self, x: Any, y: Any, mask: Any) -> Any:
        return operators().average_pool_unchecked(x, mask)
