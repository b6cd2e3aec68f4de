"""The named feature extractors as PyTorch modules, named and shaped as torchvision's."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...backends.torch._fx import leaf
from ...contract import check_batch_norm
from .. import plans
from ..plan_layers import BN_MOMENTUM, AveragePool, Step, follow, last_part


class BatchNorm2d(nn.BatchNorm2d):
    """PyTorch's layer, with an error for a channel that has a single value in training."""

    @leaf
    def forward(self, input: Tensor) -> Tensor:
        if self.training:
            check_batch_norm(input.shape, 1)
        return super().forward(input)


class Block(nn.Module):
    """Convolutions beside a shortcut (`plans.Block`)."""

    relu: nn.Module

    def __init__(self, plan: plans.Block) -> None:
        super().__init__()
        self.order = [last_part(layer.name) for layer in plan.residual]
        for name, layer in zip(self.order, plan.residual, strict=True):
            self.add_module(name, _module(layer))
        self.downsample = nn.Sequential(*map(_module, plan.downsample)) if plan.downsample else None

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        for name in self.order:
            x = getattr(self, name)(x)
        return self.relu(x + shortcut)


class Unit(nn.Module):
    """A convolution, BatchNorm and a ReLU (`plans.Unit`)."""

    def __init__(self, plan: plans.Unit) -> None:
        super().__init__()
        self.conv, self.bn, self.relu = map(_module, plan.layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.bn(self.conv(x)))


class Mixed(nn.Module):
    """Paths from one map, whose results are concatenated (`plans.Mixed`)."""

    def __init__(self, plan: plans.Mixed) -> None:
        super().__init__()
        self.plan = plan
        for unit in plan.layers:
            self.add_module(last_part(unit.name), Unit(unit))

    def forward(self, x: Tensor) -> Tensor:
        return follow(self.plan.paths, x, self._step, lambda maps: torch.cat(maps, 1))

    def _step(self, step: Step, x: Tensor) -> Tensor:
        match step:
            case plans.Unit():
                return getattr(self, last_part(step.name))(x)
            case plans.MaxPool():
                return F.max_pool2d(x, step.kernel, step.stride, step.padding)
            case AveragePool():
                return F.avg_pool2d(x, step.kernel, 1, step.padding)


class Backbone(nn.Module):
    """The layers of a plan: images (N, C, H, W) to feature maps (N, C, h, w), a tuple with `taps`.

    A layer ``group.index`` is entry ``index`` of the `nn.Sequential` ``group``, as in torchvision.
    """

    def __init__(self, layers: Sequence[plans.Layer], taps: Sequence[str] = ()) -> None:
        super().__init__()
        self.names = [layer.name for layer in layers]
        self.taps = tuple(taps)
        for layer in layers:
            group, _, index = layer.name.partition(".")
            if not index:
                self.add_module(group, _module(layer))
                continue
            if group not in self._modules:
                self.add_module(group, nn.Sequential())
            self.get_submodule(group).add_module(index, _module(layer))

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        x, maps = images, {}
        if not self.taps:
            for layer in self.children():
                x = layer(x)
            return x
        for name in self.names:
            x = maps[name] = self.get_submodule(name)(x)
        return tuple(maps[name] for name in self.taps)


def _module(layer: plans.Layer) -> nn.Module:
    match layer:
        case plans.Conv():
            return nn.Conv2d(
                layer.inputs,
                layer.outputs,
                layer.kernel,
                layer.stride,
                layer.padding,
                bias=layer.bias,
            )
        case plans.BatchNorm():
            return BatchNorm2d(layer.channels, eps=layer.eps, momentum=BN_MOMENTUM)
        case plans.MaxPool():
            return nn.MaxPool2d(layer.kernel, layer.stride, layer.padding)
        case plans.Relu():
            return nn.ReLU()
    return _COMPOSED[type(layer)](layer)


_COMPOSED: dict[type, Callable[[Any], nn.Module]] = {
    plans.Block: Block,
    plans.Unit: Unit,
    plans.Mixed: Mixed,
}


def named_backbone(
    name: str, taps: Sequence[str] | None = None, in_channels: int = plans.IN_CHANNELS
) -> Backbone:
    """Return a backbone on the meta device, whose tensors the caller sets."""
    with torch.device("meta"):
        layers = plans.cut(name, taps, in_channels)
        return Backbone(layers, [*plans.tapped(name, taps or ())])
