"""Layers by the name of a published implementation."""

from typing import Any

from torch import nn

from ... import presets
from . import layers


def preset(name: str, *, published_backward: bool = False, **arguments: Any) -> nn.Module:
    """Make the layer that computes what a published implementation computes.

    Args:
        name: a name of `bilinear.presets.PRESETS`.
        published_backward: whether to use the published backward pass in place of the derivative.
            Default False.
        arguments: further arguments of the layer; they replace those of the preset.

    Returns:
        The layer.

    Raises:
        ValueError for an unknown name, or where only the derivative was published; otherwise what
        the layer raises.

    Example:
        >>> preset("umass").root
        'shifted'
    """
    described = presets.describe(name, published_backward=published_backward, **arguments)
    return presets.make_layer(described, lambda name, **own: getattr(layers, name)(**own))
