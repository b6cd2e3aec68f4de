"""The upper triangle of symmetric matrices as vectors."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from ...contract.arrays import EMPTY, EMPTY_REMEDY
from ...contract.pooling import SQUARE, SQUARE_REMEDY, check_half_vectorize
from ._tensors import (
    constant,
    ensure,
    set_rank,
    shape,
    sizes,
    spec,
    to_tensor,
    upcast,
    without_autograph,
)


@without_autograph
def half_vectorize(g: Any, *, isometric: bool = True) -> tf.Tensor:
    """Entries on and above the diagonal of symmetric matrices, row by row.

    Specification: `bilinear.reference.half_vectorize`. Cost: time and memory O(N·C²).

    Args:
        g: (N, C, C); entries below the diagonal are not read.
        isometric: multiply the entries above the diagonal by √2, which preserves inner products.

    Returns: (N, C(C+1)/2) in the dtype of g.
    """
    op = "half_vectorize"
    g = to_tensor(op, "g", g)
    check_half_vectorize(spec(g), isometric)
    if g.shape.rank is None:
        g = ensure(op, g, [(tf.equal(tf.size(shape(g)), 3), SQUARE, SQUARE_REMEDY, [g])])
        with tf.control_dependencies([g]):  # the rank may be used only after this check
            g = set_rank(g, 3)
    if not g.shape[1:].is_fully_defined():
        _, rows, columns = sizes(g)
        claims = [(tf.equal(rows, columns), SQUARE, SQUARE_REMEDY, [g])]
        claims.append((tf.reduce_all(shape(g)[1:] > 0), EMPTY, EMPTY_REMEDY, [g]))
        g = ensure(op, g, claims)
    return tf.cast(half_vectorize_unchecked(g, isometric), g.dtype)


def half_vectorize_unchecked(g: tf.Tensor, isometric: bool) -> tf.Tensor:
    return scale_off_diagonal(upper_triangle(g), sizes(g)[1]) if isometric else upper_triangle(g)


def upper_triangle(g: tf.Tensor) -> tf.Tensor:
    """Entries on and above the diagonal, in the accumulation dtype."""

    @tf.custom_gradient
    def function(g: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        samples, channels, _ = sizes(g)
        row, column = _pairs(channels)
        flat = tf.reshape(g, [samples, channels * channels])

        def gradient(cotangent: tf.Tensor) -> tf.Tensor:
            return tf.linalg.band_part(symmetric_matrix(cotangent, channels), 0, -1)

        return _columns(flat, row * channels + column), gradient

    return function(upcast(g))  # pyright: ignore


def symmetric_matrix(packed: tf.Tensor, channels: Any) -> tf.Tensor:
    """Symmetric matrices (N, C, C) with these entries on both sides of the diagonal."""
    known = isinstance(channels, int)
    channel: Any = np.arange(channels, dtype=np.int32) if known else tf.range(channels)
    module: Any = np if known else tf
    low, high = (f(channel[:, None], channel) for f in (module.minimum, module.maximum))
    index = low * (2 * channels - low - 1) // 2 + high
    entries = _columns(packed, tf.reshape(index, [channels * channels]))
    return tf.reshape(entries, [sizes(packed)[0], channels, channels])


def _columns(a: tf.Tensor, columns: Any) -> tf.Tensor:
    """Columns of a matrix; TensorFlow copies rows faster, even with two transpositions."""
    return tf.transpose(tf.gather(tf.transpose(a), columns))


def scale_off_diagonal(packed: tf.Tensor, channels: Any) -> tf.Tensor:
    """Multiply the entries from above the diagonal by √2."""
    row, column = _pairs(channels)
    return packed * tf.where(tf.equal(row, column), constant(1, packed), constant(2**0.5, packed))


def _pairs(channels: Any) -> tuple[Any, Any]:
    """Row and column of each entry of the upper triangle; constants where C is known."""
    if isinstance(channels, int):
        row, column = np.triu_indices(channels)
        return row.astype(np.int32), column.astype(np.int32)
    r = tf.range(channels)
    ends = tf.cumsum(channels - r)  # index behind the last entry of each row
    pair = tf.range(channels * (channels + 1) // 2)
    row = tf.searchsorted(ends, pair, side="right")
    return row, pair - tf.gather(ends, row) + channels
