"""A learned projection of the channels of feature maps, to put in front of a pooling."""

from typing import Any, Literal

import keras
import tensorflow as tf

from ....contract.layers import check_arguments, check_maps
from ...initial_values import projections
from .._tensors import as_written, sizes, spec, wide
from ..low_rank_pool import activated, projected
from ..outer_pool import kept
from ._maps import checked, chosen_format, flattened
from ._weights import learned, read


@keras.saving.register_keras_serializable(package="bilinear")
class Projection(keras.layers.Layer):
    """A 1×1 convolution without bias: every location's C channels to `dim`.

    It makes wide networks fit: bilinear pooling of 2048 channels would have 4 million features,
    of 128 projected ones 16 thousand.

    Args:
        channels: C.
        dim: channels of the result.
        activation: None, or ``"relu"``, whose slope at exactly 0 is 0.
        seed: of the initial weights, normal with deviation 1/√C, equal in every framework.

    Shapes: x (N, *spatial, C), mask (N, *spatial) boolean, True where kept -> (N, *spatial, dim),
        any number of spatial axes.
        With ``data_format="channels_first"`` channels are the second axis; None is
        `keras.config.image_data_format()` at construction.
    Attributes: weight (dim, C), learned.
    Masks: `mask`, which Keras fills in where x carries one; that one goes on with the result. A
        masked location enters nothing, NaN included; its result and its gradient are 0.
    Dtypes: maps and weights are cast to the policy's compute dtype, which the result has too;
        under ``"mixed_float16"`` and ``"mixed_bfloat16"`` sums, roots and norms are in float32.
    Cost: time N·L·C·dim, memory N·L·dim.
    Raises: ValueError and TypeError as `bilinear.contract.low_rank.check_projection_layer` when
        made, as `check_operands` and `low_rank.check_maps` when called.
    """

    def __init__(
        self,
        channels: int,
        dim: int,
        *,
        activation: Literal["relu"] | None = None,
        seed: int = 0,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_arguments("Projection", locals())
        self.channels, self.dim, self.seed = channels, dim, seed
        self.activation: Literal["relu"] | None = activation
        self.data_format = chosen_format("Projection", data_format)
        self.supports_masking = True
        (weight,) = projections([(channels, dim)], seed)
        self.weight = learned(self, "weight", weight.T)

    def build(self, x_shape: Any) -> None:
        """Nothing to make."""

    @as_written
    def call(self, x: Any, mask: Any = None) -> tf.Tensor:
        self._check(x)
        flat, _, chosen = flattened("Projection", self.data_format, x, None, mask)
        weight = tf.transpose(wide(read(self.weight)))
        p = activated(projected(kept(wide(flat), chosen), weight), self.activation)
        p = tf.cast(p, flat.dtype)
        first = self._channels_first
        n, *spatial = sizes(x)[:1] + (sizes(x)[2:] if first else sizes(x)[1:-1])
        shape = [n, self.dim, *spatial] if first else [n, *spatial, self.dim]
        return tf.reshape(tf.linalg.matrix_transpose(p) if first else p, shape)

    def compute_output_shape(self, x_shape: Any) -> tuple[Any, ...]:
        spatial = x_shape[2:] if self._channels_first else x_shape[1:-1]
        if self._channels_first:
            return (x_shape[0], self.dim, *spatial)
        return (x_shape[0], *spatial, self.dim)

    def compute_output_spec(self, x: Any, mask: Any = None) -> keras.KerasTensor:
        checked("Projection", self.data_format, x, None, mask)
        self._check(x)
        return keras.KerasTensor(self.compute_output_shape(x.shape), x.dtype)

    def get_config(self) -> dict[str, Any]:
        own = ("channels", "dim", "activation", "seed", "data_format")
        return super().get_config() | {name: getattr(self, name) for name in own}

    @property
    def _channels_first(self) -> bool:
        return self.data_format == "channels_first"

    def _check(self, x: Any) -> None:
        check_maps("Projection", [spec(x)], self.channels, channels_first=self._channels_first)
