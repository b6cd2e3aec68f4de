"""Run-time checks of the tables of compact bilinear pooling."""

from typing import Any

import tensorflow as tf

from ...contract.sketches import CHANNELS, CHANNELS_REMEDY, check_entries
from ._tensors import ensure, shape


def ensure_table_sizes(op: str, x: tf.Tensor, y: Any, tables: Any) -> tf.Tensor:
    """`x`, computed only after unknown numbers of channels were checked against the tables."""
    check_entries(op, tables)
    first, second = tables[0], tables[2 if len(tables) > 2 else 1]
    claims = [
        (tf.equal(shape(t)[2], tf.shape(table)[0]), CHANNELS, CHANNELS_REMEDY, [t, table])
        for t, table in ((x, first), (x if y is None else y, second))
        if t.shape[2] is None
    ]
    return ensure(op, x, claims)
