"""Compact bilinear pooling by a tensor sketch."""

from typing import Any

import tensorflow as tf

from ...contract.sketches import SketchReduction, SketchTables, check_tensor_sketch
from ._tensors import constant, ensure_table_sizes, operands, sizes, upcast, without_autograph
from .outer_pool import outer_pool_unchecked, select_locations


@without_autograph
def tensor_sketch(
    x: Any,
    y: Any = None,
    *,
    tables: SketchTables,
    mask: Any = None,
    reduction: SketchReduction = "mean",
) -> tf.Tensor:
    """Compact bilinear pooling by a tensor sketch.

    Specification: `bilinear.reference.tensor_sketch`. Cost: time O(N·L·C·D) and memory O(N·C·D):
    one matrix product, which is faster than Fourier transforms of every location. For "none", time
    O(N·L·(C + D + dim log dim)) and memory O(N·L·dim).

    Args:
        x: (N, L, C) features.
        y: (N, L, D) features of a second stream; None means y = x.
        tables: hashes and signs of the channels of x and y, see `sketch_tables`.
        mask: (N, L) boolean, True at the valid locations; None means that all are valid.
        reduction: "mean" or "sum" over the valid locations, or "none", which does not pool.

    Returns: (N, dim), or (N, L, dim) for "none", in the dtype of x.
    """
    op = "tensor_sketch"
    x, y, mask = operands(op, x, y, mask, check_tensor_sketch, reduction, tables)
    x = ensure_table_sizes(op, x, y, tables)
    return tf.cast(tensor_sketch_unchecked(x, y, tables, mask, reduction), x.dtype)


def tensor_sketch_unchecked(x, y, tables, mask, reduction) -> tf.Tensor:
    (h1, s1, h2, s2), dim = map(tf.convert_to_tensor, tables[:4]), tables.dim
    if reduction == "none":
        x = select_locations(upcast(x), mask)
        y = x if y is None else select_locations(upcast(y), mask)
        a, b = count_sketch(x, h1, s1, dim), count_sketch(y, h2, s2, dim)
        return tf.signal.irfft(tf.signal.rfft(a) * tf.signal.rfft(b), [dim])
    g = outer_pool_unchecked(x, y, mask, reduction)
    n, c, d = sizes(g)
    bins = tf.math.floormod(h1[:, None] + h2, dim)
    signs = tf.cast(s1, g.dtype)[:, None] * tf.cast(s2, g.dtype)
    flat = tf.reshape(g, [n, c * d])
    out = count_sketch(flat, tf.reshape(bins, [-1]), tf.reshape(signs, [-1]), dim)
    # a NaN fills the whole sketch; in a cotangent, the whole gradient
    return out + tf.reduce_sum(constant(0, out) * out, -1, keepdims=True)


def count_sketch(x: tf.Tensor, h: tf.Tensor, s: tf.Tensor, dim: int) -> tf.Tensor:
    """Count sketch of the last axis: the sum of the signed entries of each bin."""
    last = x.shape.rank - 1
    terms = tf.transpose(x * tf.cast(s, x.dtype), [last, *range(last)])
    return tf.transpose(tf.math.unsorted_segment_sum(terms, h, dim), [*range(1, last + 1), 0])
