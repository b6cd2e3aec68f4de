"""The mean over all places, as a Keras layer."""

from typing import Any

import keras
import tensorflow as tf

from ....contract.pooling import check_one_stream
from .._tensors import as_written, wide
from ..outer_pool import count, kept
from ._maps import checked, chosen_format, flattened


@keras.saving.register_keras_serializable(package="bilinear")
class AveragePool(keras.layers.Layer):
    """The mean of feature maps over all places: what plain classifiers see, of one stream.

    ``z[n, c] = (1/Z) Σ_l x[n, l, c]`` over the Z locations kept: the baseline of every other
    pool. There is no root and no normalisation. Masks and dtypes are those of `CovariancePool`.

    Shapes: x (N, *spatial, C), mask (N, *spatial) -> (N, C), for any number of spatial axes;
        with ``data_format="channels_first"`` (N, C, *spatial).
    Gradient, edges: those of `outer_pool` of x and ones.
    Cost: time N·L·C; output N·C.
    Raises: ValueError and TypeError as `bilinear.contract.check_operands`.
    """

    def __init__(self, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_format = chosen_format("AveragePool", data_format)

    def build(self, x_shape: Any) -> None:
        """Nothing to make; it names the shape as `call` does, which `model.summary()` reads."""

    @as_written
    def call(self, x: Any, mask: Any = None, x_mask: Any = None) -> tf.Tensor:
        x, _, chosen = flattened("AveragePool", self.data_format, x, None, mask, x_mask)
        total = tf.reduce_sum(kept(wide(x), chosen), 1)
        return tf.cast(total / count(x, chosen, "mean"), x.dtype)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> None:
        """None: a descriptor has no locations left to mask."""

    def compute_output_shape(self, x_shape: Any) -> tuple[Any, Any]:
        return x_shape[0], x_shape[1 if self.data_format == "channels_first" else -1]

    def compute_output_spec(self, x: Any, mask: Any = None, x_mask: Any = None) -> Any:
        checked("AveragePool", self.data_format, x, None, mask, x_mask)
        return keras.KerasTensor(self.compute_output_shape(x.shape), x.dtype)

    def descriptor_size(self, channels: int, channels_b: int | None = None) -> int:
        """C; of one stream, and a second is refused."""
        check_one_stream("AveragePool", channels, channels_b)
        return channels

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"data_format": self.data_format}
