"""The Keras layer around the operators."""

import functools
import math
from typing import Any

import keras
import tensorflow as tf

from ...contract import (
    EPS,
    L2_EPS,
    Reduction,
    check_eps,
    check_floor,
    check_layer,
    check_operands,
    check_tensor,
    refuse,
)
from ._tensors import as_written, operands, sizes, spec, sure_operands
from .bilinear_pool import described

_DATA_FORMATS = ("channels_last", "channels_first")
_TENSORS = (tf.Tensor, tf.Variable, keras.Variable, keras.KerasTensor)


@keras.saving.register_keras_serializable(package="bilinear")
class BilinearPool(keras.layers.Layer):
    """Bilinear pooling of feature maps to descriptors, see `bilinear_pool`.

    One stream is ``pool(x)``, two are ``pool(x, y)``; their spatial shapes must be equal.

    Shapes: x (N, *spatial, C), y (N, *spatial, D) -> (N, C·D), for any number of spatial axes
        (none is one location); with ``data_format="channels_first"`` (N, C, *spatial). None is
        `keras.config.image_data_format()` at construction.
    Masks: boolean (N, *spatial). A location is kept where every given mask is true: `mask`,
        and those of the two streams, `x_mask` and `y_mask`. Keras fills in the masks that `x`
        and `y` carry unless they are passed here; no mask leaves the layer.
    Dtypes: x and y are cast to the policy's compute dtype, which the descriptors have too;
        under ``"mixed_float16"`` and ``"mixed_bfloat16"`` all between is computed in float32.
    Gradient, edges: those of `bilinear_pool`.
    Raises: ValueError and TypeError as `bilinear.contract.check_operands`, with the shapes as
        they were passed. Sizes unknown when the model is traced are checked at run time, as in
        `outer_pool`; XLA, which Keras chooses by itself where it can, words the error otherwise.
    Source: Lin, RoyChowdhury, Maji, ICCV 2015, section 3.
    """

    def __init__(
        self,
        reduction: Reduction = "mean",
        eps: float = EPS,
        l2_eps: float = L2_EPS,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_layer("BilinearPool", reduction, eps, l2_eps)
        self.reduction: Reduction = reduction
        self.eps, self.l2_eps = float(eps), float(l2_eps)
        self.data_format = _data_format(data_format)

    def build(self, x_shape: Any, y_shape: Any = None) -> None:
        """Nothing to make; it names the shapes as `call` does, which `model.summary()` reads."""

    @as_written
    def call(
        self, x: Any, y: Any = None, mask: Any = None, x_mask: Any = None, y_mask: Any = None
    ) -> tf.Tensor:
        op = "BilinearPool"
        masks = self._checked(x, y, mask, x_mask, y_mask)
        x, y, _ = operands(op, x, y, None)  # variables become tensors
        x = sure_operands(op, x, y, *masks, channels_first=self._channels_first)
        x, y = self._locations(x), None if y is None else self._locations(y)
        kept = None
        if masks:
            with tf.control_dependencies([x]):  # only once their shapes are sure
                kept = tf.reshape(functools.reduce(tf.logical_and, masks), sizes(x)[:2])
        return described(x, y, kept, self.reduction, self.eps, self.l2_eps)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> None:
        """None: a descriptor has no locations left to mask."""

    def compute_output_shape(self, x_shape: Any, y_shape: Any = None) -> tuple[Any, Any]:
        axis = 1 if self._channels_first else -1
        c, d = x_shape[axis], (x_shape if y_shape is None else y_shape)[axis]
        return x_shape[0], None if c is None or d is None else self.descriptor_size(c, d)

    def compute_output_spec(
        self, x: Any, y: Any = None, mask: Any = None, x_mask: Any = None, y_mask: Any = None
    ) -> keras.KerasTensor:
        self._checked(x, y, mask, x_mask, y_mask)
        shape = self.compute_output_shape(x.shape, None if y is None else y.shape)
        return keras.KerasTensor(shape, x.dtype)

    def descriptor_size(self, channels: int, channels_b: int | None = None) -> int:
        """C·D, the length of the descriptor: C² for one stream."""
        return channels * (channels if channels_b is None else channels_b)

    def get_config(self) -> dict[str, Any]:
        own = ("reduction", "eps", "l2_eps", "data_format")
        return super().get_config() | {name: getattr(self, name) for name in own}

    @property
    def _channels_first(self) -> bool:
        return self.data_format == "channels_first"

    def _checked(self, x: Any, y: Any, *masks: Any) -> list[Any]:
        """The masks given, once all that is known of them and of the streams was checked."""
        op, given = "BilinearPool", [mask for mask in masks if mask is not None]
        for name, value in [("x", x), *([] if y is None else [("y", y)])]:
            check_tensor(op, name, value, _TENSORS, "tf.Tensor")  # a list would be stacked
            if spec(value).shape is None:
                invariant = f"{name} must have a known number of axes"
                refuse(ValueError, op, invariant, "unknown rank", "Use tf.ensure_shape on it.")
        for mask in given:
            check_tensor(op, "mask", mask, _TENSORS, "tf.Tensor")
        for mask in given or [None]:
            check_operands(op, spec(x), spec(y), spec(mask), channels_first=self._channels_first)
        check_eps(op, self.eps, spec(x).dtype)
        check_floor(op, self.l2_eps, spec(x).dtype, name="l2_eps")
        return given

    def _locations(self, x: tf.Tensor) -> tf.Tensor:
        """A feature map as (N, L, C)."""
        if self._channels_first:
            n, c, *spatial = sizes(x)
            return tf.linalg.matrix_transpose(tf.reshape(x, [n, c, math.prod(spatial)]))
        n, *spatial, c = sizes(x)
        return tf.reshape(x, [n, math.prod(spatial), c])


def _data_format(value: Any) -> str:
    """The layout asked for, or Keras' default."""
    if value is None:
        return keras.config.image_data_format()
    if value not in _DATA_FORMATS:
        invariant = "data_format must be None, 'channels_last' or 'channels_first'"
        remedy = "None takes keras.config.image_data_format()."
        refuse(ValueError, "BilinearPool", invariant, repr(value), remedy)
    return value
