"""Layers by the name of the code that published them."""

from typing import Any

import keras

from ... import presets
from . import layers
from .layers.democratic_pool import inner_dtype


def preset(name: str, *, published_backward: bool = False, **arguments: Any) -> keras.layers.Layer:
    """Make the pooling layer of a published implementation.

    Args:
        name: one of `bilinear.presets.PRESETS`.
        published_backward: use the published backward pass instead of the derivative.
        **arguments: arguments of the layer, which replace those of the preset. A layer inside it
            gets the same data format, and a dtype that does not round.

    Raises:
        ValueError: the name is unknown, or the preset has no published backward pass.
    """
    described = presets.describe(name, published_backward=published_backward, **arguments)
    dtype = inner_dtype(arguments.get("dtype"))
    within = {"data_format": arguments.get("data_format"), "dtype": dtype}

    def make(name: str, **own: Any) -> keras.layers.Layer:
        return getattr(layers, name)(**own)

    return presets.make_layer(described, make, **within)
