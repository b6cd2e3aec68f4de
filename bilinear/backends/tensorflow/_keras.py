"""The TensorFlow operators as the Keras layers call them."""

# ruff: noqa: F401 - the layers read these names from this module

import math
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from ...contract import Spec, check_tensor, refuse
from ._tensors import ensure_operand_sizes, ensure_table_sizes, sizes, upcast
from .bilinear_pool import bilinear_pool_unchecked
from .covariance_sqrt import covariance_sqrt_unchecked
from .democratic_weights import democratic_weights_unchecked
from .hadamard_pool import hadamard_pool_unchecked
from .half_vectorize import half_vectorize_unchecked
from .l2_normalize import l2_normalize_unchecked
from .low_rank_pool import activate, low_rank_pool_unchecked, project
from .low_rank_scores import low_rank_scores_unchecked
from .outer_max_pool import outer_max_pool_unchecked
from .outer_pool import count_locations, outer_pool_unchecked, select_locations
from .random_maclaurin import random_maclaurin_unchecked
from .signed_sqrt import signed_sqrt_unchecked
from .tensor_sketch import tensor_sketch_unchecked

_TENSORS = (tf.Tensor, tf.Variable, keras.Variable, keras.KerasTensor)


convert_to_tensor = tf.convert_to_tensor
"""Unlike `keras.ops.convert_to_tensor`, it reads a variable, in the dtype that Keras asks for."""


def input_specs(
    op: str, maps: Sequence[Any], masks: Sequence[Any]
) -> tuple[Spec, list[Spec], list[Spec]]:
    """Specs of the first map, of the others and of the masks; only masks may have no rank."""
    found: dict[str, list[Spec]] = {"x": [], "y": [], "mask": []}
    names = "x", *["y"] * (len(maps) - 1), *["mask"] * len(masks)
    for name, value in zip(names, (*maps, *masks), strict=True):
        if value is None:
            continue
        if not isinstance(value, _TENSORS):  # a list would be stacked
            check_tensor(op, name, value, _TENSORS, "tf.Tensor")
        shape = tf.TensorShape(value.shape)
        if shape.rank is None and name != "mask":
            requirement = f"{name} must have a known number of axes"
            refuse(ValueError, op, requirement, "unknown rank", "Use tf.ensure_shape on it.")
        known = None if shape.rank is None else tuple(shape)
        found[name].append(Spec(known, tf.as_dtype(value.dtype).name))
    return found["x"][0], found["y"], found["mask"]


def to_locations(
    op: str, maps: Sequence[Any], masks: Sequence[Any], channels_first: bool
) -> tuple[list[tf.Tensor], Any]:
    """Maps as (N, L, C), and the conjunction of masks as (N, L) or None, checked at run time."""
    x, *others = map(tf.convert_to_tensor, maps)  # variables become tensors
    eager = tf.executing_eagerly()  # all sizes are known then
    for other in [] if eager else others or [None]:
        x = ensure_operand_sizes(op, x, other, *masks, channels_first=channels_first)
    locations = []
    for feature_map in (x, *others):
        n, *axes = list[Any](feature_map.shape) if eager else sizes(feature_map)
        channels = axes.pop(0 if channels_first else -1)
        flat = [n, channels, math.prod(axes)] if channels_first else [n, math.prod(axes), channels]
        locations.append(tf.reshape(feature_map, flat))
        if channels_first:
            locations[-1] = tf.linalg.matrix_transpose(locations[-1])
    valid = None
    with tf.control_dependencies(locations[:1]):  # only after the sizes of the masks were checked
        for mask in masks:
            if mask is not None:
                valid = mask if valid is None else tf.logical_and(valid, mask)
        return locations, None if valid is None else tf.reshape(valid, sizes(locations[0])[:2])


def to_map(locations: tf.Tensor, like: Any, channels_first: bool) -> tf.Tensor:
    """Location features as a feature map with the spatial sizes of `like`."""
    channels, like = sizes(locations)[2], tf.convert_to_tensor(like)
    if channels_first:
        n, _, *spatial = sizes(like)
        locations = tf.linalg.matrix_transpose(locations)
        return tf.reshape(locations, [n, channels, *spatial])
    return tf.reshape(locations, [*sizes(like)[:-1], channels])


def flatten(g: tf.Tensor) -> tf.Tensor:
    """(N, C, D) as (N, C·D)."""
    n, c, d = sizes(g)
    return tf.reshape(g, [n, c * d])


def average_pool_unchecked(x: tf.Tensor, mask: Any) -> tf.Tensor:
    """Mean over the valid locations."""
    total = tf.reduce_sum(select_locations(upcast(x), mask), 1)
    return tf.cast(total / count_locations(x, mask, "mean"), x.dtype)


def project_unchecked(x: tf.Tensor, weight: Any, mask: Any, activation: Any = None) -> tf.Tensor:
    """``σ(x weight)`` of every valid location, in the accumulation dtype."""
    return activate(project(select_locations(upcast(x), mask), upcast(weight)), activation)
