"""Compact bilinear pooling by random Maclaurin features."""

from typing import Any

import tensorflow as tf

from ...contract.sketches import MaclaurinTables, SketchReduction, check_random_maclaurin
from ._tensors import constant, ensure_table_sizes, operands, upcast, without_autograph
from .outer_pool import count_locations, select_locations


@without_autograph
def random_maclaurin(
    x: Any,
    y: Any = None,
    *,
    tables: MaclaurinTables,
    mask: Any = None,
    reduction: SketchReduction = "mean",
) -> tf.Tensor:
    """Compact bilinear pooling by random Maclaurin features.

    Specification: `bilinear.reference.random_maclaurin`. Cost: time O(N·L·(C + D)·dim), memory
    O(N·L·dim).

    Args:
        x: (N, L, C) features.
        y: (N, L, D) features of a second stream; None means y = x.
        tables: signs of the channels of x and y, see `maclaurin_tables`.
        mask: (N, L) boolean, True at the valid locations; None means that all are valid.
        reduction: "mean" or "sum" over the valid locations, or "none", which does not pool.

    Returns: (N, dim), or (N, L, dim) for "none", in the dtype of x.
    """
    op = "random_maclaurin"
    x, y, mask = operands(op, x, y, mask, check_random_maclaurin, reduction, tables)
    x = ensure_table_sizes(op, x, y, tables)
    return tf.cast(random_maclaurin_unchecked(x, y, tables, mask, reduction), x.dtype)


def random_maclaurin_unchecked(x, y, tables, mask, reduction) -> tf.Tensor:
    x = select_locations(upcast(x), mask)
    y = x if y is None else select_locations(upcast(y), mask)
    w1, w2 = (tf.cast(w, x.dtype) for w in tables)
    scale = constant(tables.w1.shape[1] ** 0.5, x)
    g = tf.linalg.matmul(x, w1) * tf.linalg.matmul(y, w2) / scale
    if reduction == "none":
        return g
    z = count_locations(x, mask, reduction)
    g = tf.reduce_sum(g, 1)
    return g if z is None else g / z
