"""Layers by the name of the code that published them."""

from typing import Any

from torch import nn

from ... import presets
from . import layers


def preset(name: str, *, published_backward: bool = False, **arguments: Any) -> nn.Module:
    """The layer that computes what published code does, by a name of `bilinear.presets.PRESETS`.

    `arguments` go to the layer, beside those of the preset or in their place. The gradient is the
    derivative, or with `published_backward` what the code has in its place.

    Raises: ValueError for a name that is none, listing those there are, or where no backward pass
        but the derivative was published; what the layer raises.
    """
    described = presets.describe(name, published_backward=published_backward, **arguments)
    return presets.make_layer(described, lambda name, **own: getattr(layers, name)(**own))
