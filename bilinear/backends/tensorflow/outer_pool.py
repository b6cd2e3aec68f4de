"""The pooled outer product of location features."""

from typing import Any

import tensorflow as tf

from ...contract import ACCUMULATION, Reduction
from ...contract.pooling import check_outer_pool
from ._tensors import constant, operands, shape, upcast, without_autograph


@without_autograph
def outer_pool(
    x: Any, y: Any = None, *, mask: Any = None, reduction: Reduction = "mean"
) -> tf.Tensor:
    """Pool the outer products of two feature vectors over all locations.

    Specification: `bilinear.reference.outer_pool`. Cost: time O(N·L·C·D), twice that for the
    gradient. Memory N·C·D besides x and y.

    Args:
        x: (N, L, C) features.
        y: (N, L, D) features of a second stream; None means y = x.
        mask: (N, L) boolean, True at the valid locations; None means that all are valid.
        reduction: "mean" divides the sum by the number of valid locations, "sum" does not.

    Returns: (N, C, D) in the dtype of x.
    """
    x, y, mask = operands("outer_pool", x, y, mask, check_outer_pool, reduction)
    return tf.cast(outer_pool_unchecked(x, y, mask, reduction), x.dtype)


def outer_pool_unchecked(x: tf.Tensor, y: Any, mask: Any, reduction: Reduction) -> tf.Tensor:
    x = select_locations(upcast(x), mask)
    y = x if y is None else select_locations(upcast(y), mask)
    g = tf.matmul(x, y, transpose_a=True)
    z = count_locations(x, mask, reduction)
    return g if z is None else g / tf.expand_dims(z, -1)


def select_locations(x: tf.Tensor, mask: Any) -> tf.Tensor:
    """Set invalid locations to 0 by selection: 0 · NaN would be NaN."""
    return x if mask is None else tf.where(mask[..., None], x, constant(0, x))


def count_locations(x: tf.Tensor, mask: Any, reduction: Reduction) -> Any:
    """Divisor Z: a scalar, a column with one value per sample, or None for 1."""
    if reduction == "sum":
        return None
    kind = ACCUMULATION[x.dtype.name]
    if mask is None:
        return tf.cast(shape(x)[1], kind)
    z = tf.reduce_sum(tf.cast(mask, kind), 1, keepdims=True)
    return tf.maximum(z, constant(1, z))  # without a valid location the sum is 0 already
