"""Layers by the name of the code that published them."""

from typing import Any

from ... import presets
from . import layers


def preset(name: str, *, published_backward: bool = False, **arguments: Any) -> Any:
    """Construct the layer that computes what published code does.

    Args:
        name: a name of `bilinear.presets.PRESETS`.
        published_backward: use the backward pass of the code where that is not the derivative.
        **arguments: arguments of the layer; they override those of the preset.

    Raises: ValueError for an unknown name, with a list of the known ones, or if no backward pass
        but the derivative was published; and what the layer raises.
    """
    described = presets.describe(name, published_backward=published_backward, **arguments)
    return presets.make_layer(described, lambda name, **own: getattr(layers, name)(**own))
