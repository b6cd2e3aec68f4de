"""Resampling of feature maps to one size, also where sizes are unknown at trace time."""

from typing import Any

import tensorflow as tf

from ...backends.tensorflow._tensors import sizes, upcast


def resample(*maps: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """All maps at the smallest extent of each axis: half-pixel centres, no antialiasing."""
    if len(maps) == 1:
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
    """Resample `x` from `old` to `new` <= `old` positions along an axis of the image.

    Position i is at ``(i + ½) · old / new − ½`` of the old axis, between two of its
    positions. `tf.image.resize` is not used because it returns float32 for every dtype.
    """
    doubled = (2 * tf.range(new) + 1) * old - new  # 2 · new times the position, exactly
    low = doubled // (2 * new)
    high = tf.minimum(low + 1, old - 1)
    values = upcast(x)
    weight = tf.cast(doubled % (2 * new), values.dtype) / tf.cast(2 * new, values.dtype)
    weight = tf.reshape(weight, [-1, 1] if axis == 2 else [-1, 1, 1])
    mixed = (1 - weight) * tf.gather(values, low, axis=axis)
    return tf.cast(mixed + weight * tf.gather(values, high, axis=axis), x.dtype)
