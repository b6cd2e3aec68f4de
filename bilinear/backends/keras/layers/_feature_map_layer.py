"""What all layers share: arguments, checks, layout, masks, shapes and configuration."""

import functools
import itertools
import math
import operator
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import keras
import numpy as np

from ....contract import DescriptorOptions, Spec, check_argument
from ....contract.arguments import as_list, choice
from ....contract.layers import (
    LAYERS,
    check_arguments,
    check_call,
    check_maps,
    descriptor_length,
    read_arguments,
)
from ....contract.pooling import check_one_stream
from ....contract.renamed_arguments import upgrade_arguments
from ...class_signature import ClassSignature
from .. import operators

DATA_FORMAT = choice(
    None,
    "channels_last",
    "channels_first",
    remedy="None takes keras.config.image_data_format().",
)


class FeatureMapLayer(keras.layers.Layer):
    """Base of the layers, whose arguments are in the table of the contract.

    Masks are boolean (N, *spatial). A location is valid where every mask is True: `mask`, and the
    masks that Keras stores on the feature maps, which it passes as `x_mask` and `y_mask` (as `mask`
    if there is a single feature map).

    Feature maps and weights are cast to the compute dtype of the dtype policy, which is also the
    dtype of the result. Half-precision values are accumulated in float32 and rounded once.
    """

    __signature__ = ClassSignature()
    class_name: ClassVar[str]
    """Key of the layer in `bilinear.contract.layers.LAYERS`."""

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        """Check the arguments of the constructor, given as its `locals()`, and store them."""
        super().__init__(**arguments["kwargs"])
        for name, value in check_arguments(self.class_name, arguments).items():
            setattr(self, name, value)
        check_argument(self.class_name, "data_format", arguments["data_format"], DATA_FORMAT)
        self.data_format = arguments["data_format"] or keras.config.image_data_format()
        self.channels_first = self.data_format == "channels_first"

    def check(self, maps: Sequence[Any], masks: Sequence[Any]) -> None:
        """Check all that is known of the feature maps and masks before the computation."""
        op, first, channels = self.class_name, self.channels_first, getattr(self, "channels", None)
        options = None
        if hasattr(self, "l2_eps"):
            packed, slope_eps = getattr(self, "packed", False), getattr(self, "slope_eps", None)
            options = DescriptorOptions("mean", self.eps, self.l2_eps, packed, slope_eps=slope_eps)
        x, *others = [_spec(op, "y" if i else "x", value) for i, value in enumerate(maps)]
        mask_specs = [_spec(op, "mask", mask) for mask in masks if mask is not None]
        of_two = channels if len(maps) < 3 else None
        for y, mask in itertools.product(others or [None], mask_specs or [None]):
            check_call(op, x, y, mask, channels_first=first, channels=of_two, options=options)
        if channels is not None and of_two is None:
            check_maps(op, [x, *others], channels, channels_first=first)
        elif len(maps) > LAYERS[op].maps[1]:
            check_one_stream(op, *(m.shape[1 if first else -1] for m in maps))

    def to_locations(self, maps: Sequence[Any], masks: Sequence[Any]) -> tuple[list[Any], Any]:
        """Check a call; give maps as (N, L, C), and the conjunction of masks as (N, L) or None."""
        self.check(maps, masks)
        ops, given = operators(), [mask for mask in masks if mask is not None]
        maps, given = ops.ensure_sizes(self.class_name, maps, given, self.channels_first)
        locations = list(map(self._flattened, maps))
        if not given:
            return locations, None
        valid = functools.reduce(operator.and_, given)
        return locations, keras.ops.reshape(valid, ops.sizes(locations[0])[:2])

    def _flattened(self, x: Any) -> Any:
        """A feature map as (N, L, C)."""
        n, *axes = operators().sizes(x)
        if self.channels_first:
            return keras.ops.swapaxes(keras.ops.reshape(x, [n, axes[0], math.prod(axes[1:])]), 1, 2)
        return keras.ops.reshape(x, [n, math.prod(axes[:-1]), axes[-1]])

    def to_map(self, locations: Any, like: Any) -> Any:
        """Location features as a feature map with the spatial sizes of `like`."""
        channels, (n, *axes) = operators().sizes(locations)[2], operators().sizes(like)
        if self.channels_first:
            return keras.ops.reshape(keras.ops.swapaxes(locations, 1, 2), [n, channels, *axes[1:]])
        return keras.ops.reshape(locations, [n, *axes[:-1], channels])

    def add_arrays(self, arrays: Mapping[str, np.ndarray], **options: Any) -> None:
        """Add weights as attributes, with these initial values; `options` are of `add_weight`."""
        for name, value in arrays.items():
            weight = self.add_weight(shape=value.shape, initializer="zeros", name=name, **options)
            weight.assign(value)
            setattr(self, name, weight)

    def compute_output_spec(self, x: Any, y: Any = None, **masks: Any) -> keras.KerasTensor:
        maps = (x,) if y is None else (x, y)
        self.check(maps, tuple(masks.values()))
        return keras.KerasTensor(self.compute_output_shape(*(m.shape for m in maps)), x.dtype)

    def get_config(self) -> dict[str, Any]:
        own = read_arguments(self.class_name, self)
        return super().get_config() | own | {"data_format": self.data_format}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        return super().from_config(upgrade_arguments(cls.class_name, config))


def _spec(op: str, name: str, value: Any) -> Spec:
    """Describe an argument of a call for the contract."""
    if isinstance(value, keras.KerasTensor | keras.Variable):
        return Spec(tuple(value.shape), keras.backend.standardize_dtype(value.dtype))
    return operators().spec(op, name, value)


def flatten(g: Any) -> Any:
    """(N, C, D) as (N, C·D)."""
    n, c, d = operators().sizes(g)
    return keras.ops.reshape(g, [n, c * d])


class Pool(FeatureMapLayer):
    """Base of the layers that pool maps to descriptors by `pool_locations`; no mask leaves them."""

    def build(self, x_shape: Any, y_shape: Any = None) -> None:
        """Do nothing: all weights are created by the constructor."""

    def call(
        self, x: Any, y: Any = None, *, mask: Any = None, x_mask: Any = None, y_mask: Any = None
    ) -> Any:
        maps, masks = (x,) if y is None else (x, y), (mask, x_mask, y_mask)
        (x, *others), valid = self.to_locations(maps, masks)
        return self.pool_locations(x, others[0] if others else None, valid)

    def pool_locations(self, x: Any, y: Any, mask: Any) -> Any:
        """Result for location features (N, L, C) and a mask (N, L), in the dtype of x."""
        raise NotImplementedError

    def root_and_norm(self, z: Any, x: Any) -> Any:
        """Root and norm of the descriptors `z`, rounded to the dtype of `x`."""
        ops = operators()
        roots = ops.signed_sqrt_unchecked(z, self.eps, getattr(self, "root", "signed"))
        return keras.ops.cast(ops.l2_normalize_unchecked(roots, self.l2_eps), x.dtype)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """None: a descriptor has no locations to mask."""

    def compute_output_shape(self, x_shape: Any, y_shape: Any = None) -> tuple[Any, ...]:
        axis = 1 if self.channels_first else -1
        channels = [shape[axis] for shape in (x_shape, y_shape) if shape is not None]
        channels = as_list(getattr(self, "channels", channels))
        return x_shape[0], None if None in channels else self.descriptor_size(*channels)

    def descriptor_size(self, channels: int, channels_b: int | None = None) -> int:
        """Length of the descriptor of one or two feature maps with these channels."""
        return descriptor_length(self.class_name, self, channels, channels_b)
