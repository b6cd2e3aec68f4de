"""The pooled covariance of location features."""

from typing import Any

import tensorflow as tf

from ...contract.matrices import check_covariance_pool
from ._tensors import operands, upcast, without_autograph
from .outer_pool import count_locations, select_locations


@without_autograph
def covariance_pool(x: Any, y: Any = None, *, mask: Any = None) -> tf.Tensor:
    """Covariance of two feature vectors over all locations.

    Specification: `bilinear.reference.covariance_pool`. Cost: time O(N·L·C·D). Memory N·C·D and two
    centered copies of the features.

    Args:
        x: (N, L, C) features.
        y: (N, L, D) features of a second stream; None means y = x.
        mask: (N, L) boolean, True at the valid locations; None means that all are valid.

    Returns: (N, C, D) in the dtype of x.
    """
    x, y, mask = operands("covariance_pool", x, y, mask, check_covariance_pool)
    return tf.cast(covariance_pool_unchecked(x, y, mask), x.dtype)


def covariance_pool_unchecked(x: tf.Tensor, y: Any, mask: Any) -> tf.Tensor:
    z = tf.expand_dims(count_locations(x, mask, "mean"), -1)
    x_centered = center_locations(upcast(x), mask, z)
    y_centered = x_centered if y is None else center_locations(upcast(y), mask, z)
    return tf.matmul(x_centered, y_centered, transpose_a=True) / z


def center_locations(x: tf.Tensor, mask: Any, z: tf.Tensor) -> tf.Tensor:
    """Features minus their mean; 0 at invalid locations."""
    x = select_locations(x, mask)
    return select_locations(x - tf.reduce_sum(x, 1, keepdims=True) / z, mask)
