"""The functions of TensorFlow as the networks of Keras call them. Maps are (N, h, w, C)."""

from typing import Any

import keras
import tensorflow as tf

from ...backends.tensorflow._tensors import constant, ensure, sizes, upcast
from ...contract import check_batch_norm
from ...contract.arrays import SINGLE_VALUE, SINGLE_VALUE_REMEDY
from ..plan_layers import Pair, pair


def check_dtype(op: str, dtype: str) -> None:
    """TensorFlow has every dtype of a model."""


def convolve(x: tf.Tensor, kernel: tf.Tensor, bias: Any, stride: int, padding: Pair) -> tf.Tensor:
    """Padded equally; "SAME" has faster gradients, but is unequal for stride 2."""
    same = stride == 1 and [2 * side + 1 for side in pair(padding)] == list(kernel.shape[:2])
    x = tf.nn.conv2d(x, kernel, stride, "SAME" if same else _paddings(padding))
    return x if bias is None else tf.nn.bias_add(x, bias)


def max_pool(x: tf.Tensor, kernel: int, stride: int, padding: int) -> tf.Tensor:
    if padding:
        x = tf.pad(x, _paddings(padding), constant_values=constant(-float("inf"), x))
    return tf.nn.max_pool2d(x, kernel, stride, "VALID")


def _paddings(padding: Pair) -> Any:
    """Return equal paddings on both sides of an axis, for `tf.pad` and `tf.nn.conv2d`."""
    return [[0, 0], *([side, side] for side in pair(padding)), [0, 0]]


def count_values(values: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the values, checked at run time where sizes are unknown, and their number.

    The number is that of all replicas of a `tf.distribute` strategy.
    """
    n, h, w, _ = sizes(values)
    count, replicas = n * h * w, _replicas()
    if replicas is not None:
        count = replicas.all_reduce("SUM", tf.cast(count, values.dtype))
    else:
        check_batch_norm(tuple(values.shape), 3)
    if isinstance(count, tf.Tensor):
        claim = (tf.not_equal(count, 1), SINGLE_VALUE, SINGLE_VALUE_REMEDY, [values])
        values = ensure("BatchNorm", values, [claim])
    return values, tf.cast(count, values.dtype)


def batch_mean(values: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """The mean of each channel over all replicas of a `tf.distribute` strategy."""
    replicas = _replicas()
    if replicas is None:
        return tf.reduce_mean(values, (0, 1, 2))
    return replicas.all_reduce("SUM", tf.reduce_sum(values, (0, 1, 2))) / count


def assign(variable: keras.Variable, value: tf.Tensor) -> None:
    """Assign to the copy of this replica; all replicas have equal values."""
    if _replicas() is None:
        variable.assign(value)
    else:  # Variable.assign refuses a variable that replicas do not aggregate
        tf.raw_ops.AssignVariableOp(resource=resource_handle(variable), value=value)


def _replicas() -> Any:
    """The context of one of several replicas, or None."""
    context: Any = tf.distribute.get_replica_context()
    return None if context is None or context.num_replicas_in_sync == 1 else context


def resample(*maps: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """All maps at the smallest extent of each axis: half-pixel centers, no antialiasing."""
    if len(maps) == 1 or maps[0].shape.rank != 4:  # other maps must have equal sizes
        return maps
    for axis in (1, 2):
        extents = [sizes(x)[axis] for x in maps]
        if all(isinstance(extent, int) for extent in extents):
            least = min(extents)
            pairs = zip(maps, extents, strict=True)
            maps = tuple(x if old == least else _shrunk(x, axis, old, least) for x, old in pairs)
        else:
            least = tf.reduce_min(tf.stack(extents))
            maps = tuple(_shrunk(x, axis, old, least) for x, old in zip(maps, extents, strict=True))
    return maps


def _shrunk(x: tf.Tensor, axis: int, old: Any, new: Any) -> tf.Tensor:
    """Resample an axis; `tf.image.resize` is not used because it returns float32 for every dtype.

    Position i is at ``(i + ½) · old / new − ½`` of the old axis, between two of its positions.
    """
    doubled = (2 * tf.range(new) + 1) * old - new  # 2 · new times the position, exactly
    low = doubled // (2 * new)
    high = tf.minimum(low + 1, old - 1)
    values = upcast(x)
    weight = tf.cast(doubled % (2 * new), values.dtype) / tf.cast(2 * new, values.dtype)
    weight = tf.reshape(weight, [-1, 1] if axis == 2 else [-1, 1, 1])
    mixed = (1 - weight) * tf.gather(values, low, axis=axis)
    return tf.cast(mixed + weight * tf.gather(values, high, axis=axis), x.dtype)


def apply_momentum(
    variable: Any, buffer: Any, learning_rate: tf.Tensor, step: tf.Tensor, momentum: float
) -> None:
    """Update buffer and variable in one pass each, without temporary arrays."""
    tf.raw_ops.ResourceApplyMomentum(
        var=resource_handle(variable),
        accum=resource_handle(buffer),
        lr=learning_rate,
        grad=step,
        momentum=tf.constant(momentum, variable.dtype),
    )


def resource_handle(variable: Any) -> tf.Tensor:
    """Return the handle of a variable of Keras or TensorFlow."""
    return (variable.value if isinstance(variable, keras.Variable) else variable).handle
