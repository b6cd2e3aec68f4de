"""Layers by the name of a published implementation."""

from typing import Any

from torch import nn

from ... import presets
from . import layers


def preset(name: str, *, published_backward: bool = False, **arguments: Any) -> nn.Module:
    """Make the pooling layer of a published implementation.

    Args:
        name: a name of `bilinear.presets.PRESETS`.
        published_backward: use the published backward pass, not the derivative. Default False.
        arguments: further arguments of the layer; they replace those of the preset.

    Raises: ValueError for an unknown name, or for ``published_backward=True`` if the preset has no
        such backward pass; the errors of the layer.

    Example:
        >>> preset("umass").root
        'shifted'
    """
    described = presets.describe(name, published_backward=published_backward, **arguments)
    return presets.make_layer(described, lambda name, **own: getattr(layers, name)(**own))
