"""The TensorFlow operators as the Keras layers call them."""

# ruff: noqa: F401 - the layers read these names from this module

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from ...contract import Spec, check_tensor, refuse
from . import _tensors
from ._tensors import ensure_operand_sizes, ensure_table_sizes, upcast
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

convert_to_tensor = tf.convert_to_tensor
"""Unlike `keras.ops.convert_to_tensor`, it reads a variable, in the dtype that Keras asks for."""


def spec(op: str, name: str, value: Any) -> Spec:
    """Shape and dtype of a feature map or a mask; only a mask may have no known rank."""
    if not isinstance(value, tf.Tensor | tf.Variable):  # a list would be stacked
        check_tensor(op, name, value, tf.Tensor, "tf.Tensor")
    found = _tensors.spec(value)
    if found.shape is None and name != "mask":
        requirement = f"{name} must have a known number of axes"
        refuse(ValueError, op, requirement, "unknown rank", "Use tf.ensure_shape on it.")
    return found


def sizes(x: tf.Tensor) -> list[Any]:
    """Sizes of `x`, all known outside of a graph."""
    return list[Any](x.shape) if tf.executing_eagerly() else _tensors.sizes(x)


def ensure_sizes(
    op: str, maps: Sequence[Any], masks: Sequence[Any], channels_first: bool
) -> tuple[Sequence[Any], Sequence[Any]]:
    """Maps and masks, computed only after sizes that a graph does not know were checked."""
    x, *others = map(tf.convert_to_tensor, maps)  # variables become tensors
    if tf.executing_eagerly():
        return [x, *others], masks
    for other in others or [None]:
        x = ensure_operand_sizes(op, x, other, *masks, channels_first=channels_first)
    with tf.control_dependencies([x]):
        return [x, *others], list(map(tf.identity, masks))


def average_pool_unchecked(x: tf.Tensor, mask: Any) -> tf.Tensor:
    """Mean over the valid locations."""
    total = tf.reduce_sum(select_locations(upcast(x), mask), 1)
    return tf.cast(total / count_locations(x, mask, "mean"), x.dtype)


def project_unchecked(x: tf.Tensor, weight: Any, mask: Any, activation: Any = None) -> tf.Tensor:
    """``σ(x weight)`` of every valid location, in the accumulation dtype."""
    return activate(project(select_locations(upcast(x), mask), upcast(weight)), activation)
