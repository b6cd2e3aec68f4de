"""Faults of the networks, planted in the classes of each framework."""

import functools
import math
from collections.abc import Callable
from typing import Any

from bilinear.models.framework import networks

from . import FRAMEWORKS, Fault, wrap
from .arrays import arrays
from .layers import METHODS
from .library import fault

OTHER = {"torch": "jax", "tensorflow": "torch", "jax": "torch"}
"""Networks are compared with those of another framework."""
MODELS = ("tests/models/test_models.py", "-k", "resnet18")
RESAMPLING = ("tests/models/test_models.py", "-k", "feature_maps")
TAPS = ("tests/models/test_pooled_models.py", "-k", "maps")
TOKENS = ("tests/models/test_own_networks.py", "-k", "tokens")
MAPS = "models.streams:Streams.check_maps"


def backbone_module(framework: str) -> Any:
    return networks(framework, "backbone")


def batch_norm(framework: str) -> type:
    module = backbone_module(framework)
    return module.BatchNorm2d if framework == "torch" else module.BatchNorm


def is_training(framework: str, layer: Any, options: dict[str, Any]) -> bool:
    if framework == "torch":
        return layer.training
    return options.get("training") if framework == "tensorflow" else not layer.use_running_average


def statistics(framework: str, layer: Any) -> list[Any]:
    names = {
        "torch": ("running_mean", "running_var"),
        "tensorflow": ("moving_mean", "moving_variance"),
        "jax": ("mean", "var"),
    }
    return [getattr(layer, name) for name in names[framework]]


def read(framework: str, statistic: Any) -> Any:
    if framework == "torch":
        return statistic.clone()
    return statistic.value + 0 if framework == "tensorflow" else statistic[...]


def write(framework: str, statistic: Any, value: Any) -> None:
    if framework == "torch":
        statistic.data.copy_(value)
    elif framework == "tensorflow":
        statistic.assign(value)
    else:
        statistic[...] = value


def after_batch_norm(change: Callable[..., Any]) -> Callable[[str], None]:
    """Plant ``change(framework, layer, x, result, before)`` behind BatchNorm in training."""

    def plant(framework: str) -> None:
        def faulty(f: Callable[..., Any], layer: Any, x: Any, **options: Any) -> Any:
            if not is_training(framework, layer, options):
                return f(layer, x, **options)
            before = [read(framework, s) for s in statistics(framework, layer)]
            return change(framework, layer, x, f(layer, x, **options), before)

        wrap(batch_norm(framework), METHODS[framework], faulty)

    return plant


def values_per_channel(framework: str, x: Any) -> int:
    n, *sizes = arrays(framework).shape(x)
    return n * math.prod(sizes[1:] if framework == "torch" else sizes[:-1])


def biased_variance(framework: str, layer: Any, x: Any, result: Any, before: list[Any]) -> Any:
    count = values_per_channel(framework, x)
    statistic = statistics(framework, layer)[1]
    new = read(framework, statistic) - 0.9 * before[1]
    write(framework, statistic, 0.9 * before[1] + new * ((count - 1) / count))
    return result


def stale_statistics(framework: str, layer: Any, x: Any, result: Any, before: list[Any]) -> Any:
    for statistic, value in zip(statistics(framework, layer), before, strict=True):
        write(framework, statistic, value)
    return result


def unbiased_batch(framework: str, layer: Any, x: Any, result: Any, before: list[Any]) -> Any:
    count = values_per_channel(framework, x)
    return result * ((count - 1) / count) ** 0.5


def missing_shortcut(framework: str) -> None:
    """A block returns its convolutions alone."""
    module = backbone_module(framework)
    a = arrays(framework)
    if framework == "tensorflow":

        def apply(f: Callable[..., Any], self: Any, plan: Any, x: Any, training: Any) -> Any:
            if not isinstance(plan, module.plans.Block):
                return f(self, plan, x, training)
            for part in plan.residual:
                x = f(self, part, x, training)
            return a.relu(x)

        wrap(module.Backbone, "_apply_layer", apply)
        return

    def forward(f: Callable[..., Any], self: Any, x: Any) -> Any:
        del f
        for name in self.order:
            x = getattr(self, name)(x)
        return a.relu(x)

    wrap(module.Block, METHODS[framework], forward)


def shifted_stride(framework: str) -> None:
    """A convolution of stride 2 is padded on the other side, as SAME pads it."""
    a = arrays(framework)

    def call(f: Callable[..., Any], self: Any, x: Any) -> Any:
        if getattr(self, "plan", self).stride == 1:
            return f(self, x)
        return f(self, a.concat([x[:, 1:], 0 * x[:, :1]], 1))

    wrap(backbone_module(framework).Conv, METHODS[framework], call)


def nearest_resampling(framework: str) -> None:
    """Feature maps of two sizes are resampled by the nearest location."""
    module = networks(framework, "framework")
    a = arrays(framework)
    first = 2 if framework == "torch" else 1

    def resample(f: Callable[..., Any], *maps: Any) -> tuple[Any, ...]:
        size = [min(s) for s in zip(*(a.shape(x)[first : first + 2] for x in maps), strict=True)]
        return tuple(nearest(a, x, size, first) for x in maps) if len(maps) > 1 else f(*maps)

    wrap(module, "resample", resample)


def nearest(a: Any, x: Any, size: list[int], first: int) -> Any:
    for axis, new in enumerate(size, first):
        old = a.shape(x)[axis]
        index = [slice(None)] * 4
        parts = []
        for i in range(new):
            index[axis] = slice(i * old // new, i * old // new + 1)
            parts.append(x[tuple(index)])
        x = a.concat(parts, axis)
    return x


def reversed_taps(framework: str) -> None:
    """Feature maps come in the order of the network."""

    def call(f: Callable[..., Any], self: Any, *arguments: Any, **options: Any) -> Any:
        result = f(self, *arguments, **options)
        return result[::-1] if isinstance(result, tuple) else result

    wrap(backbone_module(framework).Backbone, METHODS[framework], call)


@fault("the axes of feature maps are not checked", MAPS, TOKENS, "torch")
def _(f, *arguments, **options):
    return None


NETWORKS: dict[str, tuple[Callable[[str], None], tuple[str, ...]]] = {
    "the running variance is biased": (after_batch_norm(biased_variance), MODELS),
    "the running statistics do not change": (after_batch_norm(stale_statistics), MODELS),
    "the variance of a batch is unbiased": (after_batch_norm(unbiased_batch), MODELS),
    "the shortcut of a block is missing": (missing_shortcut, MODELS),
    "a stride of 2 is padded as SAME": (shifted_stride, MODELS),
    "feature maps are resampled by the nearest location": (nearest_resampling, RESAMPLING),
    "taps come in the order of the network": (reversed_taps, TAPS),
}


def faults() -> list[Fault]:
    return [
        Fault(name, f, functools.partial(plant, f), tests, (f, OTHER[f]))
        for name, (plant, tests) in NETWORKS.items()
        for f in FRAMEWORKS
        if (plant, f) != (shifted_stride, "torch")  # whose convolutions pad both sides equally
    ]
