"""The named feature extractors as Flax modules: torchvision's layers under Flax's names.

Modules are constructed with zeros and without random keys; their owner assigns the weights.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from ...backends.jax._arrays import upcast
from ...contract import check_batch_norm
from .. import plans
from ..plan_layers import BN_MOMENTUM, AveragePool, Step, follow, last_part, pair
from .feature_maps import convolve, max_pool

VARIABLES = {"running_mean": "mean", "running_var": "var"}
"""Last part of a canonical name -> Flax's name; "weight" is a kernel or a scale."""


def zeros(shape: plans.Shape, dtype: str) -> jax.Array:
    return jnp.asarray(np.zeros(shape, plans.DTYPES[dtype]))  # jnp.zeros compiles for each shape


class Conv(nnx.Module):
    """A convolution with an HWIO kernel: (N, H, W, inputs) to (N, h, w, outputs)."""

    def __init__(self, plan: plans.Conv, dtype: str) -> None:
        shape = *pair(plan.kernel), plan.inputs, plan.outputs
        self.kernel = nnx.Param(zeros(shape, dtype))
        self.bias = nnx.Param(zeros((plan.outputs,), dtype)) if plan.bias else None
        self.stride = plan.stride
        self.padding = plan.padding

    def __call__(self, x: jax.Array) -> jax.Array:
        bias = None if self.bias is None else self.bias[...]
        return convolve(x, self.kernel[...], bias, self.stride, self.padding)


class Linear(nnx.Module):
    """``x @ kernel + bias``: (N, inputs) to (N, outputs)."""

    def __init__(self, inputs: int, outputs: int, dtype: str) -> None:
        self.kernel = nnx.Param(zeros((inputs, outputs), dtype))
        self.bias = nnx.Param(zeros((outputs,), dtype))

    def __call__(self, x: jax.Array) -> jax.Array:
        return jnp.matmul(x, self.kernel[...]) + self.bias[...]


class BatchNorm(nnx.Module):
    """torch's batch normalization over all axes but the last, in the accumulation dtype.

    In training the biased variance of the batch normalizes, and the unbiased one updates ``var``
    with torch's momentum; `flax.nnx.BatchNorm` would store the biased one.
    """

    def __init__(self, plan: plans.BatchNorm, dtype: str) -> None:
        self.scale = nnx.Param(zeros((plan.channels,), dtype))
        self.bias = nnx.Param(zeros((plan.channels,), dtype))
        self.mean = nnx.BatchStat(zeros((plan.channels,), dtype))
        self.var = nnx.BatchStat(zeros((plan.channels,), dtype))
        self.eps = plan.eps
        self.use_running_average = False

    def __call__(self, x: jax.Array) -> jax.Array:
        values = upcast(x)
        if self.use_running_average:
            mean, var = upcast(self.mean[...]), upcast(self.var[...])
        else:
            check_batch_norm(x.shape, x.ndim - 1)
            axes = tuple(range(x.ndim - 1))
            mean = values.mean(axes)
            # The last square is 0 but carries the derivatives with respect to the mean, which
            # would otherwise be a sum over all values of the batch.
            center = jax.lax.stop_gradient(mean)
            var = jnp.square(values - center).mean(axes) - jnp.square(mean - center)
            self._update_statistics(mean, var, jnp.asarray(x.size // x.shape[-1], var.dtype))
        scale = upcast(self.scale[...]) / jnp.sqrt(var + self.eps)
        return ((values - mean) * scale + upcast(self.bias[...])).astype(x.dtype)

    def _update_statistics(self, mean: jax.Array, var: jax.Array, count: jax.Array) -> None:
        """`count` is an array because sizes may be symbolic; a count of 0 changes nothing."""
        momentum = BN_MOMENTUM
        for statistic, new in ((self.mean, mean), (self.var, var * (count / (count - 1)))):
            old = upcast(statistic[...])
            updated = (1 - momentum) * old + momentum * jax.lax.stop_gradient(new)
            statistic[...] = jnp.where(count > 0, updated, old).astype(statistic[...].dtype)

    def set_view(self, use_running_average: bool | None = None) -> None:
        """For `flax.nnx.view`."""
        if use_running_average is not None:
            self.use_running_average = use_running_average


class MaxPool(nnx.Module):
    def __init__(self, plan: plans.MaxPool) -> None:
        self.plan = plan

    def __call__(self, x: jax.Array) -> jax.Array:
        return max_pool(x, *self.plan[1:])


class Relu(nnx.Module):
    def __call__(self, x: jax.Array) -> jax.Array:
        return jax.nn.relu(x)


class Block(nnx.Module):
    """Convolutions beside a shortcut (`plans.Block`)."""

    def __init__(self, plan: plans.Block, dtype: str) -> None:
        self.order = tuple(last_part(layer.name) for layer in plan.residual)
        for name, layer in zip(self.order, plan.residual, strict=True):
            setattr(self, name, _module(layer, dtype))
        downsample = [_module(layer, dtype) for layer in plan.downsample or ()]
        self.downsample = nnx.List(downsample) if downsample else None

    def __call__(self, x: jax.Array) -> jax.Array:
        shortcut = x
        for layer in self.downsample or ():
            shortcut = layer(shortcut)
        for name in self.order:
            x = getattr(self, name)(x)
        return jax.nn.relu(x + shortcut)


class Unit(nnx.Module):
    """A convolution, BatchNorm and a ReLU (`plans.Unit`)."""

    def __init__(self, plan: plans.Unit, dtype: str) -> None:
        conv, norm, _ = plan.layers
        self.conv, self.bn = Conv(conv, dtype), BatchNorm(norm, dtype)

    def __call__(self, x: jax.Array) -> jax.Array:
        return jax.nn.relu(self.bn(self.conv(x)))


class Mixed(nnx.Module):
    """Paths from one map, whose results are concatenated (`plans.Mixed`)."""

    def __init__(self, plan: plans.Mixed, dtype: str) -> None:
        self.plan = plan
        for unit in plan.layers:
            setattr(self, last_part(unit.name), Unit(unit, dtype))

    def __call__(self, x: jax.Array) -> jax.Array:
        return follow(self.plan.paths, x, self._step, lambda maps: jnp.concatenate(maps, 3))

    def _step(self, step: Step, x: jax.Array) -> jax.Array:
        match step:
            case plans.Unit():
                return getattr(self, last_part(step.name))(x)
            case plans.MaxPool():
                return max_pool(x, *step[1:])
            case AveragePool():
                sides: Any = ((step.padding,) * 2,) * 2
                return nnx.avg_pool(upcast(x), (step.kernel,) * 2, padding=sides).astype(x.dtype)


class Backbone(nnx.Module):
    """The layers of a plan: images (N, H, W, c) to feature maps (N, h, w, C), a tuple with `taps`.

    A layer named ``group.index`` is entry ``index`` of the list ``group``.
    """

    def __init__(
        self,
        name: str,
        dtype: str,
        taps: tuple[str, ...] | None = None,
        in_channels: int = plans.IN_CHANNELS,
    ) -> None:
        self.name = name
        self.taps = taps
        for layer in plans.cut(name, taps, in_channels):
            group, _, index = layer.name.partition(".")
            if not index:
                setattr(self, group, _module(layer, dtype))
                continue
            if not hasattr(self, group):
                setattr(self, group, nnx.List())
            getattr(self, group).append(_module(layer, dtype))

    def __call__(self, images: jax.Array) -> jax.Array | tuple[jax.Array, ...]:
        names = [layer.name for layer in plans.cut(self.name, self.taps)]
        first = _submodule(self, names[0])
        kernel = (first.conv if isinstance(first, Unit) else first).kernel[...]
        x, outputs = images.astype(kernel.dtype), {}
        for name in names:
            x = outputs[name] = _submodule(self, name)(x)
        if self.taps is None:
            return x
        return tuple(outputs[name] for name in plans.tapped(self.name, self.taps))

    def canonical(self) -> dict[str, nnx.Variable]:
        """Canonical name (no prefix) -> variable, in torchvision's order."""
        return {name: variable(self, name) for name in plans.tensor_shapes(self.name, self.taps)}


def _module(layer: plans.Layer, dtype: str) -> nnx.Module:
    match layer:
        case plans.Conv():
            return Conv(layer, dtype)
        case plans.BatchNorm():
            return BatchNorm(layer, dtype)
        case plans.MaxPool():
            return MaxPool(layer)
        case plans.Relu():
            return Relu()
    return _COMPOSED[type(layer)](layer, dtype)


_COMPOSED: dict[type, Callable[[Any, str], nnx.Module]] = {
    plans.Block: Block,
    plans.Unit: Unit,
    plans.Mixed: Mixed,
}


def _submodule(module: Any, path: str) -> Any:
    for part in path.split("."):
        module = module[int(part)] if part.isdigit() else getattr(module, part)
    return module


def variable(module: nnx.Module, name: str) -> nnx.Variable:
    """The variable of a canonical name: that of ``bn1.weight`` is ``bn1.scale``."""
    path, _, last = name.rpartition(".")
    layer = _submodule(module, path)
    if last == "weight":
        return layer.scale if isinstance(layer, BatchNorm) else layer.kernel
    return getattr(layer, VARIABLES.get(last, last))
