"""The named feature extractors as Keras layers: torchvision's plan under Keras' names."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from ...backends.tensorflow._tensors import constant, ensure, sizes, upcast
from ...contract import check_batch_norm
from ...contract.arrays import SINGLE_VALUE, SINGLE_VALUE_REMEDY
from .. import plans
from ..plan_layers import BN_MOMENTUM

CONV = {"weight": "kernel", "bias": "bias"}
BATCH_NORM = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}
"""Last part of a canonical name -> what Keras calls it."""


class Conv(keras.layers.Layer):
    """A convolution, padded equally; "SAME" has faster gradients, but is unequal for stride 2."""

    def __init__(self, plan: plans.Conv, **kwargs: Any) -> None:
        super().__init__(name=plan.name, **kwargs)
        self.plan = plan
        self.bias: Any = None

    def build(self, input_shape: Any) -> None:
        side, outputs = self.plan.kernel, self.plan.outputs
        shape = (side, side, self.plan.inputs, outputs)
        self.kernel = self.add_weight(shape=shape, initializer="zeros", name="kernel")
        if self.plan.bias:
            self.bias = self.add_weight(shape=(outputs,), initializer="zeros", name="bias")

    def call(self, x: tf.Tensor) -> tf.Tensor:
        _, _, _, side, stride, padding, _ = self.plan
        same = stride == 1 and 2 * padding == side - 1
        x = tf.nn.conv2d(x, self.kernel, stride, "SAME" if same else _paddings(padding))
        return x if self.bias is None else tf.nn.bias_add(x, self.bias)


class BatchNorm(keras.layers.Layer):
    """PyTorch's batch normalisation over all axes but the last, in float32 for half precision.

    In training the biased variance of the batch normalises, and the unbiased one updates
    ``moving_variance`` with PyTorch's momentum; `keras.layers.BatchNormalization` stores the
    biased one. As there, a frozen layer (``trainable = False``) computes as in evaluation.
    Sizes unknown when a tf.function is traced are checked at run time.
    """

    def __init__(self, plan: plans.BatchNorm, **kwargs: Any) -> None:
        super().__init__(name=plan.name, **kwargs)
        self.plan = plan

    def build(self, input_shape: Any) -> None:
        self.gamma = self._vector("gamma", "ones")
        self.beta = self._vector("beta", "zeros")
        self.moving_mean = self._vector("moving_mean", "zeros", trainable=False)
        self.moving_variance = self._vector("moving_variance", "ones", trainable=False)

    def _vector(self, name: str, initial: str, *, trainable: bool = True) -> keras.Variable:
        return self.add_weight(
            shape=(self.plan.channels,),
            initializer=initial,
            name=name,
            trainable=trainable,
            autocast=False,  # a mixed policy would round the statistics to half precision
        )

    def call(self, x: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        mean, variance = upcast(self.moving_mean.value), upcast(self.moving_variance.value)
        values = upcast(x)
        if training and self.trainable:
            values, count = _count_values(values)
            old_mean, old_variance = mean, variance
            mean = tf.reduce_mean(values, [0, 1, 2])
            centred = values - mean
            variance = tf.reduce_mean(tf.square(centred), [0, 1, 2])
            unbiased = variance * (count / (count - 1))
            _update(self.moving_mean, old_mean, mean, count)
            _update(self.moving_variance, old_variance, unbiased, count)
        else:
            centred = values - mean
        # one factor per channel: each further pass over the maps adds one or two to the gradient
        scale = upcast(self.gamma.value) / tf.sqrt(variance + constant(self.plan.eps, variance))
        return tf.cast(centred * scale + upcast(self.beta.value), x.dtype)


def _count_values(values: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the checked values, and the number of values per channel."""
    check_batch_norm(tuple(values.shape), 3)
    n, h, w, _ = sizes(values)
    count = n * h * w
    if isinstance(count, tf.Tensor):
        claim = (tf.not_equal(count, 1), SINGLE_VALUE, SINGLE_VALUE_REMEDY, [values])
        values = ensure("BatchNorm", values, [claim])
    return values, tf.cast(count, values.dtype)


def _update(statistic: keras.Variable, old: tf.Tensor, new: tf.Tensor, count: tf.Tensor) -> None:
    """Update a running statistic; an empty batch leaves it as it is, as in PyTorch."""
    momentum = constant(BN_MOMENTUM, old)
    moved = (1 - momentum) * old + momentum * tf.stop_gradient(new)
    statistic.assign(tf.cast(tf.where(count > 0, moved, old), statistic.dtype))


@keras.saving.register_keras_serializable(package="bilinear")
class Backbone(keras.layers.Layer):
    """The layers of a plan: images (N, H, W, c) to a map (N, h, w, C), or to the maps of `taps`."""

    def __init__(
        self,
        architecture: str,
        taps: Sequence[str] | None = None,
        in_channels: int = plans.IN_CHANNELS,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.architecture = architecture
        self.in_channels = in_channels
        self.taps = None if taps is None else tuple(taps)
        policy = self.dtype_policy
        self.parts: dict[str, keras.layers.Layer] = {}
        for layer in self._plan:
            for plan in layer.layers if isinstance(layer, plans.Block) else (layer,):
                if isinstance(plan, plans.Conv):
                    self.parts[plan.name] = Conv(plan, dtype=policy)
                elif isinstance(plan, plans.BatchNorm):
                    self.parts[plan.name] = BatchNorm(plan, dtype=policy)

    @property
    def _plan(self) -> tuple[plans.Layer, ...]:
        return plans.cut(self.architecture, self.taps, self.in_channels)

    def build(self, input_shape: Any) -> None:
        for part in self.parts.values():
            part.build(None)

    def call(self, images: tf.Tensor, training: bool | None = None) -> Any:
        x, maps = images, {}
        for plan in self._plan:
            x = maps[plan.name] = self._apply(plan, x, training)
        if self.taps is None:
            return x
        return tuple(maps[name] for name in plans.tapped(self.architecture, self.taps))

    def _apply(self, plan: plans.Layer, x: tf.Tensor, training: bool | None) -> tf.Tensor:
        match plan:
            case plans.Conv():
                return self.parts[plan.name](x)
            case plans.BatchNorm():
                return self.parts[plan.name](x, training=training)
            case plans.MaxPool():
                if plan.padding:
                    low = constant(-float("inf"), x)
                    x = tf.pad(x, _paddings(plan.padding), constant_values=low)
                return tf.nn.max_pool2d(x, plan.kernel, plan.stride, "VALID")
            case plans.Relu():
                return tf.nn.relu(x)
            case plans.Block():
                shortcut = x
                for part in plan.downsample or ():
                    shortcut = self._apply(part, shortcut, training)
                for part in plan.residual:
                    x = self._apply(part, x, training)
                return tf.nn.relu(x + shortcut)

    def canonical(self) -> dict[str, keras.Variable]:
        """Return {canonical name without prefix: variable}, in torchvision's order."""
        names = plans.tensor_shapes(self.architecture, self.taps)
        return {name: self._variable(name) for name in names}

    def _variable(self, name: str) -> keras.Variable:
        path, _, last = name.rpartition(".")
        part = self.parts[path]
        return getattr(part, (CONV if isinstance(part, Conv) else BATCH_NORM)[last])

    def get_config(self) -> dict[str, Any]:
        own = {"architecture": self.architecture, "taps": self.taps and list(self.taps)}
        own["in_channels"] = self.in_channels
        return super().get_config() | own


def _paddings(padding: int) -> Any:
    """Return equal paddings on every side of the image, for `tf.pad` and `tf.nn.conv2d`."""
    return [[0, 0], [padding, padding], [padding, padding], [0, 0]]
