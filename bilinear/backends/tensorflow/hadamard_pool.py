"""The pooled element-wise products of streams."""

import itertools
from typing import Any

import tensorflow as tf

from ...contract import Reduction
from ...contract.low_rank import (
    SAME_CHANNELS,
    SAME_CHANNELS_REMEDY,
    WINDOWS,
    WINDOWS_REMEDY,
    check_hadamard_pool,
)
from ._tensors import (
    ensure,
    ensure_locations,
    shape,
    sizes,
    spec,
    to_tensor,
    to_tensors,
    upcast,
    without_autograph,
)
from .outer_pool import count_locations, select_locations


@without_autograph
def hadamard_pool(
    x: Any,
    y: Any,
    *more: Any,
    rank: int = 1,
    mask: Any = None,
    reduction: Reduction = "mean",
) -> tf.Tensor:
    """Pool the element-wise products of every pair of streams over all locations.

    Specification: `bilinear.reference.hadamard_pool`. Cost: time and memory O(N·L·R) for each pair.

    Args:
        x: (N, L, R) features.
        y: (N, L, R) features of the second stream.
        *more: further streams (N, L, R).
        rank: number of consecutive channels to sum; it divides R.
        mask: (N, L) boolean, True at the valid locations; None means that all are valid.
        reduction: "mean" divides the sum by the number of valid locations, "sum" does not.

    Returns: (N, pairs · R / rank) in the dtype of x, in the order (0, 1), (0, 2), …, (1, 2), …
    """
    op = "hadamard_pool"
    x, y, mask = to_tensors(op, x, y, mask)
    others = [y, *(to_tensor(op, f"more[{i}]", stream) for i, stream in enumerate(more))]
    check_hadamard_pool([spec(s) for s in (x, *others)], rank, spec(mask), reduction)
    for i, other in enumerate(others):
        x, others[i], valid = ensure_locations(op, x, other, mask)
    claims = window_claims(x, rank)
    for other in others:
        if None in (x.shape[2], other.shape[2]):
            same = tf.equal(shape(x)[2], shape(other)[2])
            claims.append((same, SAME_CHANNELS, SAME_CHANNELS_REMEDY, [x, other]))
    x = ensure(op, x, claims)
    with tf.control_dependencies([x]):
        streams = [upcast(stream) for stream in (x, *others)]
    return tf.cast(hadamard_pool_unchecked(streams, rank, valid, reduction), x.dtype)


def window_claims(x: tf.Tensor, rank: int) -> list[Any]:
    """Claim that `rank` divides the last axis of x, where its size is unknown."""
    if x.shape[-1] is not None:
        return []
    return [(tf.equal(tf.math.floormod(shape(x)[-1], rank), 0), WINDOWS, WINDOWS_REMEDY, [x])]


def hadamard_pool_unchecked(streams, rank, mask, reduction) -> tf.Tensor:
    streams = [select_locations(stream, mask) for stream in streams]
    sums = [tf.reduce_sum(a * b, 1) for a, b in itertools.combinations(streams, 2)]
    h = tf.concat(sums, 1)
    if rank > 1:
        n, r = sizes(h)
        h = tf.reduce_sum(tf.reshape(h, [n, r // rank, rank]), 2)
    z = count_locations(streams[0], mask, reduction)
    return h if z is None else h / z
