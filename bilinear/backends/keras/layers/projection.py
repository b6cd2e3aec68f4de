"""A learned projection of the channels of a feature map as a Keras layer."""

from typing import Any, Literal

import keras

from ....contract.layer_arguments import ProjectionArguments
from ...initial_values import projections
from .. import operators
from ._feature_map_layer import FeatureMapLayer


@keras.saving.register_keras_serializable(package="bilinear")
class Projection(ProjectionArguments, FeatureMapLayer):
    """1×1 convolution without bias, which reduces the number of channels before a pool.

    Bilinear pooling of 2048 channels has 4 million features, and of 128 channels 16 thousand.
    The result has the same mask. Invalid locations give 0, with gradient 0. Cost: time
    N·L·C·dim, memory N·L·dim.

    Args:
        channels: C.
        dim: channels of the result.
        activation: None (default) or "relu", whose slope at 0 is 0.
        seed: non-negative integer, for equal weights in every framework; None is random. Default 0.
        data_format: "channels_last", "channels_first", or None for the default of Keras.
        **kwargs: arguments of `keras.layers.Layer`, such as `dtype` and `name`.

    Attributes: weight (dim, C), learned; initially normal with deviation 1/√C.
    Shape: (N, *spatial, C) -> (N, *spatial, dim), in channels_first (N, C, *spatial) -> (N, dim,
        *spatial).
    """

    class_name = "Projection"

    def __init__(
        self,
        channels: int,
        dim: int,
        *,
        activation: Literal["relu"] | None = None,
        seed: int | None = 0,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(locals())
        self.supports_masking = True
        (weight,) = projections([(self.channels, self.dim)], self.seed)
        self.add_arrays({"weight": weight.T})

    def build(self, x_shape: Any) -> None:
        """Do nothing: the weight is created by the constructor."""

    def call(self, x: Any, *, mask: Any = None) -> Any:
        ops = operators()
        (locations,), valid = self.to_locations((x,), (mask,))
        weight = keras.ops.transpose(ops.convert_to_tensor(self.weight))
        result = ops.project_unchecked(locations, weight, valid, self.activation)
        return self.to_map(keras.ops.cast(result, x.dtype), x)

    def compute_output_shape(self, x_shape: Any) -> tuple[Any, ...]:
        if self.channels_first:
            return (x_shape[0], self.dim, *x_shape[2:])
        return (*x_shape[:-1], self.dim)
