"""The upper triangle of symmetric matrices as vectors."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from ...contract.arrays import EMPTY, EMPTY_REMEDY
from ...contract.pooling import SQUARE, SQUARE_REMEDY, check_half_vectorize
from ._tensors import as_written, constant, ranked, required, shape, sizes, spec, sure, wide


@as_written
def half_vectorize(g: Any, *, isometric: bool = True) -> tf.Tensor:
    """The entries on and above the diagonal, row by row: ``h = (w_cd · g[c, d] for c <= d)``.

    ``w_cd`` is 1 on the diagonal and, above it, √2 if `isometric` and 1 if not. With √2, inner
    products and norms of symmetric matrices are those of their vectors.

    Shapes: g (N, C, C) -> (N, C(C+1)/2), of pairs (0, 0), (0, 1) … (0, C-1), (1, 1) … Anything
        `tf.convert_to_tensor` takes; sizes, and the rank, may be unknown until run time.
    Gradient: ``w_cd · γ`` on and above the diagonal, 0 below it.
    Edges: what is below the diagonal is never read, NaN included. Half types are multiplied in
        float32.
    Cost: time, memory and output N·C(C+1)/2, the gradient N·C².
    Raises: as `bilinear.contract.pooling.check_half_vectorize`. Sizes unknown
        when a tf.function is traced are checked at run time, as in `outer_pool`.
    Source: Magnus, Neudecker, SIAM J. Algebraic and Discrete Methods 1, 1980 (``vech``).
    """
    op = "half_vectorize"
    g = required(op, "g", g)
    check_half_vectorize(spec(g), isometric)
    if g.shape.rank is None:
        g = sure(op, g, [(tf.equal(tf.size(shape(g)), 3), SQUARE, SQUARE_REMEDY, [g])])
        with tf.control_dependencies([g]):  # the rank is taken for granted only once g is sure
            g = ranked(g, 3)
    if not g.shape[1:].is_fully_defined():
        _, rows, columns = sizes(g)
        claims = [(tf.equal(rows, columns), SQUARE, SQUARE_REMEDY, [g])]
        claims.append((tf.reduce_all(shape(g)[1:] > 0), EMPTY, EMPTY_REMEDY, [g]))
        g = sure(op, g, claims)
    return tf.cast(halved(g, isometric), g.dtype)


def halved(g: tf.Tensor, isometric: bool) -> tf.Tensor:
    """The unchecked formula, in the accumulation dtype."""
    return weighed(upper(g), sizes(g)[1]) if isometric else upper(g)


def upper(g: tf.Tensor) -> tf.Tensor:
    """The entries, in the accumulation dtype."""

    @tf.custom_gradient
    def function(g: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        samples, channels, _ = sizes(g)
        row, column = _pairs(channels)
        flat = tf.reshape(g, [samples, channels * channels])

        def gradient(cotangent: tf.Tensor) -> tf.Tensor:
            return tf.linalg.band_part(symmetric(cotangent, channels), 0, -1)

        return _columns(flat, row * channels + column), gradient

    return function(wide(g))  # pyright: ignore


def symmetric(packed: tf.Tensor, channels: Any) -> tf.Tensor:
    """The matrices (N, C, C) with these entries on both sides of the diagonal."""
    known = isinstance(channels, int)
    channel: Any = np.arange(channels, dtype=np.int32) if known else tf.range(channels)
    module: Any = np if known else tf
    low, high = (f(channel[:, None], channel) for f in (module.minimum, module.maximum))
    places = low * (2 * channels - low - 1) // 2 + high
    entries = _columns(packed, tf.reshape(places, [channels * channels]))
    return tf.reshape(entries, [sizes(packed)[0], channels, channels])


def _columns(a: tf.Tensor, columns: Any) -> tf.Tensor:
    """Of a matrix. TensorFlow copies rows faster than entries, by more than turning them costs."""
    return tf.transpose(tf.gather(tf.transpose(a), columns))


def weighed(packed: tf.Tensor, channels: Any) -> tf.Tensor:
    """√2 times the entries that stood above the diagonal."""
    row, column = _pairs(channels)
    return packed * tf.where(tf.equal(row, column), constant(1, packed), constant(2**0.5, packed))


def _pairs(channels: Any) -> tuple[Any, Any]:
    """Rows and columns of the upper triangle, where C is known as a constant."""
    if isinstance(channels, int):
        row, column = np.triu_indices(channels)
        return row.astype(np.int32), column.astype(np.int32)
    r = tf.range(channels)
    ends = tf.cumsum(channels - r)  # of the rows, counted in pairs
    pair = tf.range(channels * (channels + 1) // 2)
    row = tf.searchsorted(ends, pair, side="right")
    return row, pair - tf.gather(ends, row) + channels
