"""The named feature extractors as Keras layers: torchvision's plan under Keras' names."""

from collections.abc import Sequence
from typing import Any

import keras

from ...backends.keras import operators
from .. import plans
from ..plan_layers import BN_MOMENTUM, AveragePool, Step, follow, pair
from . import functions

CONV = {"weight": "kernel", "bias": "bias"}
BATCH_NORM = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}
"""Last part of a canonical name -> what Keras calls it."""


class Conv(keras.layers.Layer):
    """A convolution, padded equally on both sides of an axis."""

    def __init__(self, plan: plans.Conv, **kwargs: Any) -> None:
        super().__init__(name=_layer_name(plan), **kwargs)
        self.plan = plan
        self.bias: Any = None

    def build(self, input_shape: Any) -> None:
        outputs = self.plan.outputs
        shape = (*pair(self.plan.kernel), self.plan.inputs, outputs)
        self.kernel = self.add_weight(shape=shape, initializer="zeros", name="kernel")
        if self.plan.bias:
            self.bias = self.add_weight(shape=(outputs,), initializer="zeros", name="bias")

    def call(self, x: Any) -> Any:
        read = operators().convert_to_tensor
        bias = None if self.bias is None else read(self.bias)
        stride, padding = self.plan.stride, self.plan.padding
        return functions().convolve(x, read(self.kernel), bias, stride, padding)


class BatchNorm(keras.layers.Layer):
    """PyTorch's batch normalization over all axes but the last, in float32 for half precision.

    In training the biased variance of the batch normalizes, and the unbiased one updates
    ``moving_variance`` with PyTorch's momentum; `keras.layers.BatchNormalization` stores the
    biased one. As there, a frozen layer (``trainable = False``) computes as in evaluation. The
    batch is that of all replicas of a `tf.distribute` strategy.
    Sizes unknown when a tf.function is traced are checked at run time.
    """

    def __init__(self, plan: plans.BatchNorm, **kwargs: Any) -> None:
        super().__init__(name=_layer_name(plan), **kwargs)
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

    def call(self, x: Any, training: bool | None = None) -> Any:
        upcast, ops = operators().upcast, keras.ops
        mean, variance = upcast(self.moving_mean.value), upcast(self.moving_variance.value)
        values = upcast(x)
        if training and self.trainable:
            values, count = functions().count_values(values)
            old_mean, old_variance = mean, variance
            mean = functions().batch_mean(values, count)
            centered = values - mean
            variance = functions().batch_mean(ops.square(centered), count)
            unbiased = variance * (count / (count - 1))
            _update(self.moving_mean, old_mean, mean, count)
            _update(self.moving_variance, old_variance, unbiased, count)
        else:
            centered = values - mean
        # one factor per channel: each further pass over the maps adds one or two to the gradient
        scale = upcast(self.gamma.value) / ops.sqrt(variance + self.plan.eps)
        return ops.cast(centered * scale + upcast(self.beta.value), x.dtype)


def _update(statistic: keras.Variable, old: Any, new: Any, count: Any) -> None:
    """Update a running statistic; an empty batch leaves it as it is, as in PyTorch."""
    ops: Any = keras.ops
    moved = (1 - BN_MOMENTUM) * old + BN_MOMENTUM * ops.stop_gradient(new)
    value = ops.cast(ops.where(count > 0, moved, old), statistic.dtype)
    if keras.backend.backend() == "tensorflow":
        functions().assign(statistic, value)
    else:
        statistic.assign(value)


def _average_pool(x: Any, plan: AveragePool) -> Any:
    ops, sides = keras.ops, (plan.padding, plan.padding)
    padded = ops.pad(operators().upcast(x), ((0, 0), sides, sides, (0, 0)))
    means = ops.average_pool(padded, plan.kernel, 1, "valid", "channels_last")
    return ops.cast(means, x.dtype)


def _layer_name(plan: plans.Conv | plans.BatchNorm) -> str:
    """Keras' name of a layer; PyTorch allows no dot in it."""
    return plan.name.replace(".", "_")


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
        self.parts: dict[str, keras.layers.Layer] = {}
        for layer in self._plan:
            self._add_parts(layer)

    def _add_parts(self, plan: plans.Layer) -> None:
        match plan:
            case plans.Conv():
                self.parts[plan.name] = Conv(plan, dtype=self.dtype_policy)
            case plans.BatchNorm():
                self.parts[plan.name] = BatchNorm(plan, dtype=self.dtype_policy)
            case plans.Block() | plans.Unit() | plans.Mixed():
                for part in plan.layers:
                    self._add_parts(part)

    @property
    def _plan(self) -> tuple[plans.Layer, ...]:
        return plans.cut(self.architecture, self.taps, self.in_channels)

    def build(self, input_shape: Any) -> None:
        for part in self.parts.values():
            part.build(None)

    def call(self, images: Any, training: bool | None = None) -> Any:
        x, maps = images, {}
        for plan in self._plan:
            x = maps[plan.name] = self._apply_layer(plan, x, training)
        if self.taps is None:
            return x
        return tuple(maps[name] for name in plans.tapped(self.architecture, self.taps))

    def _apply_layer(self, plan: plans.Layer | Step, x: Any, training: bool | None) -> Any:
        match plan:
            case plans.Conv():
                x = self.parts[plan.name](x)
            case plans.BatchNorm():
                x = self.parts[plan.name](x, training=training)
            case plans.MaxPool():
                x = functions().max_pool(x, plan.kernel, plan.stride, plan.padding)
            case AveragePool():
                x = _average_pool(x, plan)
            case plans.Relu():
                x = keras.ops.relu(x)
            case plans.Block():
                shortcut = self._apply_layers(plan.downsample or (), x, training)
                x = keras.ops.relu(self._apply_layers(plan.residual, x, training) + shortcut)
            case plans.Unit():
                x = self._apply_layers(plan.layers, x, training)
            case plans.Mixed():
                x = follow(
                    plan.paths,
                    x,
                    lambda step, y: self._apply_layer(step, y, training),
                    lambda maps: keras.ops.concatenate(maps, -1),
                )
        return x

    def _apply_layers(self, layers: Sequence[plans.Layer], x: Any, training: bool | None) -> Any:
        for layer in layers:
            x = self._apply_layer(layer, x, training)
        return x

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
