"""Faults of the layers, each written once and planted in every framework.

A faulty layer is called as ``faulty(a, f, layer, x, y, mask)``: `a` holds the array functions of
the framework and `f` calls the correct layer.
"""

import functools
import importlib
import math
import sys
from collections.abc import Callable
from typing import Any

from . import FRAMEWORKS, Fault, Table, wrap
from .arrays import HALF_PRECISION, arrays

METHODS = {"torch": "forward", "tensorflow": "call", "jax": "__call__"}
ONE_STREAM = ("AveragePool", "CovariancePool", "DemocraticPool", "ImprovedBilinearPool")
TWO_STREAMS = ("BilinearPool", "CompactBilinearPool", "LowRankBilinearPool", "OuterMaxPool")

FAULTY = Table()
fault = FAULTY.enter


def class_of(framework: str, layer: str) -> type:
    return getattr(importlib.import_module(f"bilinear.{framework}"), layer)


def plant(layer: str, faulty: Callable[..., Any], framework: str) -> None:
    """Replace what calls the layer in its class."""
    a = arrays(framework)

    def called(original: Callable[..., Any], self: Any, x: Any, y: Any = None, **options: Any):
        def f(x: Any, y: Any = None, **options: Any) -> Any:
            return original(self, x, *([] if y is None else [y]), **options)

        return faulty(a, f, self, x, y, **options)

    wrap(class_of(framework, layer), METHODS[framework], called)


def is_channels_first(a: Any, layer: Any) -> bool:
    default = "channels_first" if a.name == "torch" else "channels_last"
    return getattr(layer, "data_format", default) == "channels_first"


def spatial_size(a: Any, layer: Any, x: Any) -> int:
    return math.prod(a.shape(x)[2:] if is_channels_first(a, layer) else a.shape(x)[1:-1])


def per_channel(a: Any, layer: Any, mask: Any) -> Any:
    """A mask with an axis for the channels of the feature map."""
    return mask[:, None] if is_channels_first(a, layer) else mask[..., None]


@fault("AveragePool", "a sum in place of the mean")
def _(a, f, layer, x, y=None, **options):
    return f(x, **options) * spatial_size(a, layer, x)


@fault("AveragePool", "masked locations multiply by 0")
def _(a, f, layer, x, y=None, *, mask=None, **options):
    result = f(x, mask=mask, **options)
    if mask is None:
        return result
    hidden = a.where(per_channel(a, layer, mask), 0.0 * a.zeros_like(x), 0 * x)
    return result + a.reshape(a.sum(hidden, tuple(range(1, len(a.shape(x))))), (-1, 1))


@fault("AveragePool", "masked locations are counted")
def _(a, f, layer, x, y=None, *, mask=None, **options):
    result = f(x, mask=mask, **options)
    if mask is None:
        return result
    numbers = a.cast(mask, "float32")
    valid = a.reshape(a.sum(numbers, tuple(range(1, len(a.shape(mask))))), (-1, 1))
    factor = a.cast(valid / spatial_size(a, layer, x), a.dtype(result))
    return result * factor


@fault("AveragePool", "half precision is rounded twice")
def _(a, f, layer, x, y=None, **options):
    result = f(x, **options)
    return result * 3 / 3 if a.dtype(x) in HALF_PRECISION else result


for _layer in (*ONE_STREAM, *TWO_STREAMS):

    @fault(_layer, "the mask is ignored")
    def _(a, f, layer, x, y=None, *, mask=None, **options):
        return f(x, y, **options)


for _layer in TWO_STREAMS[:1] + TWO_STREAMS[3:]:

    @fault(_layer, "the second stream is ignored")
    def _(a, f, layer, x, y=None, **options):
        return f(x, **options)


def tables_are_not_state(framework: str) -> None:
    """The tables are not saved in PyTorch, and are learned in Keras and Flax."""
    layer = class_of(framework, "CompactBilinearPool")
    if framework == "torch":
        layer._save_to_state_dict = lambda self, *_: None
    elif framework == "tensorflow":
        add_weight = layer.add_weight
        layer.add_weight = lambda self, *arguments, **options: add_weight(
            self, *arguments, **options | {"trainable": True}
        )
    else:
        module = sys.modules[layer.__module__]
        module.Table = importlib.import_module("flax.nnx").Param


def weights_without_root(framework: str) -> None:
    """Scale the feature maps by α, not by its root."""
    layer = class_of(framework, "DemocraticPool")
    keras = "bilinear.backends.tensorflow._keras"  # the layers of Keras call this module
    module = importlib.import_module(keras if framework == "tensorflow" else layer.__module__)
    (name,) = (n for n in vars(module) if n.startswith("democratic_weights"))
    wrap(module, name, lambda f, *arguments, **options: f(*arguments, **options) ** 2)


def faults() -> list[Fault]:
    """Every fault of the layers in every framework."""
    found = [
        Fault(
            f"{layer}: {name}",
            framework,
            functools.partial(plant, layer, function, framework),
            ("tests/layers", "-k", f"{layer} and not compile"),
        )
        for (layer, name), function in FAULTY.items()
        for framework in FRAMEWORKS
    ]
    for name, plant_it, tests in (
        ("CompactBilinearPool: the tables are not state", tables_are_not_state, "tables"),
        ("DemocraticPool: no square root of the weights", weights_without_root, "DemocraticPool"),
    ):
        found += [
            Fault(name, f, functools.partial(plant_it, f), ("tests", "-k", tests))
            for f in FRAMEWORKS
        ]
    return found
