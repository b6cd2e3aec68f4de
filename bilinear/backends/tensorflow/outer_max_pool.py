"""The maximum of the outer products of location features."""

import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from ...contract.aggregation import check_outer_max_pool
from ._tensors import constant, operands, sizes, upcast, without_autograph, without_tape
from .outer_pool import select_locations

BLOCK = 8
"""Number of channels whose products are in memory at a time."""

BLOCKS = 16
"""Number of blocks where the number of channels is unknown when a `tf.function` is traced."""


@without_autograph
def outer_max_pool(x: Any, y: Any = None, *, mask: Any = None) -> tf.Tensor:
    """Largest product of each pair of channels over all locations.

    Specification: `bilinear.reference.outer_max_pool`. Cost: time O(N·L·C·D). Memory O(N·C·D) and
    the products of 8 channels, N·L·8·D, forward and backward; if C is unknown, those of a sixteenth
    of the channels. The gradient computes the products again. The size of the graph grows with
    C / 8. XLA may keep several blocks in memory.

    Args:
        x: (N, L, C) features.
        y: (N, L, D) features of a second stream; None means y = x.
        mask: (N, L) boolean, True at the valid locations; None means that all are valid.

    Returns: (N, C, D) in the dtype of x.
    """
    x, y, mask = operands("outer_max_pool", x, y, mask, check_outer_max_pool)
    return tf.cast(outer_max_pool_unchecked(x, y, mask), x.dtype)


def outer_max_pool_unchecked(x: tf.Tensor, y: Any, mask: Any) -> tf.Tensor:
    x = select_locations(upcast(x), mask)
    y = x if y is None else select_locations(upcast(y), mask)
    valid = tf.ones([1, 1, 1, 1], tf.bool) if mask is None else mask[:, :, None, None]
    return tf.concat([_maxima(x[:, :, block], y, valid) for block in _channel_blocks(x)], 1)


def _maxima(x: tf.Tensor, y: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
    """Maxima of all products; the gradient computes the products again."""

    @tf.custom_gradient
    def function(x: tf.Tensor, y: tf.Tensor) -> tuple[tf.Tensor, Callable[..., Any]]:
        products = _products(*without_tape(x, y))
        nan = tf.reduce_any(tf.math.is_nan(tf.stop_gradient(products)), 1)  # XLA drops NaN
        maxima = tf.reduce_max(tf.where(valid, products, constant(-math.inf, x)), 1)
        maxima = tf.where(nan, constant(math.nan, x), maxima)
        maxima = tf.where(tf.reduce_any(valid, 1), maxima, constant(0, x))

        def gradient(cotangent: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            tied = tf.equal(tf.stop_gradient(_products(x, y)), tf.stop_gradient(maxima)[:, None])
            tied = tf.logical_and(valid, tf.logical_or(tied, nan[:, None]))
            count = tf.maximum(tf.reduce_sum(tf.cast(tied, x.dtype), 1), constant(1, x))
            slope = tf.where(nan, constant(math.nan, x), constant(1, x)) / count
            shares = tf.where(tied, (cotangent * slope)[:, None], constant(0, x))
            return tf.reduce_sum(shares * y[:, :, None], 3), tf.einsum("nlcd,nlc->nld", shares, x)

        return maxima, gradient

    return function(x, y)  # pyright: ignore


def _products(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    return x[:, :, :, None] * y[:, :, None]


def _channel_blocks(x: tf.Tensor) -> list[slice]:
    """Slices of `BLOCK` channels, or `BLOCKS` slices where the number of channels is unknown."""
    channels = sizes(x)[2]
    if isinstance(channels, int):
        return [slice(i, min(i + BLOCK, channels)) for i in range(0, channels, BLOCK)]
    step = (channels + BLOCKS - 1) // BLOCKS
    return [slice(i * step, tf.minimum((i + 1) * step, channels)) for i in range(BLOCKS)]
