"""Layers by the name of the code that published them."""

from typing import Any

from ... import presets
from . import layers


def preset(name: str, *, published_backward: bool = False, **arguments: Any) -> Any:
    """Make the pooling layer of a published implementation.

    Args:
        name: a name of `bilinear.presets.PRESETS`.
        published_backward: use the published backward pass instead of the derivative.
        **arguments: arguments of the layer; they override those of the preset.

    Raises: ValueError for an unknown name, or for ``published_backward=True`` if the preset has no
        such backward pass; the errors of the layer.
    """
    described = presets.describe(name, published_backward=published_backward, **arguments)
    return presets.make_layer(described, lambda name, **own: getattr(layers, name)(**own))
