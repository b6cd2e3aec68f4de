"""Low-rank bilinear pooling: products of projections, pooled."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from ...contract import Reduction
from ...contract.low_rank import Activation, check_low_rank_pool
from ._tensors import (
    constant,
    ensure,
    ensure_locations,
    set_rank,
    shape,
    sizes,
    spec,
    to_tensor,
    to_tensors,
    upcast,
    without_autograph,
)
from .hadamard_pool import hadamard_pool_unchecked, window_claims
from .outer_pool import select_locations


@without_autograph
def low_rank_pool(
    x: Any,
    u: Any,
    v: Any,
    y: Any = None,
    *,
    activation: Activation = None,
    rank: int = 1,
    mask: Any = None,
    reduction: Reduction = "mean",
) -> tf.Tensor:
    """Low-rank bilinear pooling, ``hadamard_pool(σ(x u), σ(y v))``.

    Specification: `bilinear.reference.low_rank_pool`. Cost: time O(N·L·(C + D)·R), memory O(N·L·R).

    Args:
        x: (N, L, C) features.
        u: (C, R) projection of x.
        v: (D, R) projection of y.
        y: (N, L, D) features of a second stream; None means y = x.
        activation: σ, one of None, "tanh", "relu" and "sigmoid".
        rank: number of consecutive products to sum; it divides R.
        mask: (N, L) boolean, True at the valid locations; None means that all are valid.
        reduction: "mean" divides the sum by the number of valid locations, "sum" does not.

    Returns: (N, R / rank) in the dtype of x.
    """
    op = "low_rank_pool"
    x, y, mask = to_tensors(op, x, y, mask)
    u, v = to_tensor(op, "u", u), to_tensor(op, "v", v)
    check_low_rank_pool(spec(x), spec(u), spec(v), spec(y), activation, rank, spec(mask), reduction)
    x, y, mask = ensure_locations(op, x, y, mask)
    of_u, of_v = [sizes(x)[2], None], [sizes(x if y is None else y)[2], None]
    x, u = ensure_weight_sizes(op, x, "u", u, "(C, R)", of_u)
    of_v[1] = sizes(u)[1]
    x, v = ensure_weight_sizes(op, x, "v", v, "(D, R)", of_v)
    u = ensure(op, u, window_claims(u, rank))
    return tf.cast(low_rank_pool_unchecked(x, u, v, y, activation, rank, mask, reduction), x.dtype)


def low_rank_pool_unchecked(x, u, v, y, activation, rank, mask, reduction) -> tf.Tensor:
    x = select_locations(upcast(x), mask)
    y = x if y is None else select_locations(upcast(y), mask)
    pairs = (x, u), (y, v)
    streams = [activate(project(s, upcast(w)), activation) for s, w in pairs]
    return hadamard_pool_unchecked(streams, rank, mask, reduction)


def project(x: tf.Tensor, u: tf.Tensor) -> tf.Tensor:
    """``x u`` of every location, as a single product, whose gradient is a single product too."""
    n, locations, c = sizes(x)
    product = tf.matmul(tf.reshape(x, [n * locations, c]), u)
    return tf.reshape(product, [n, locations, sizes(u)[1]])


def activate(p: tf.Tensor, activation: Activation) -> tf.Tensor:
    """σ(p); relu returns 0·p where p <= 0, so that a NaN cotangent passes through."""
    if activation == "tanh":
        return tf.tanh(p)
    if activation == "sigmoid":
        return tf.sigmoid(p)
    if activation is None:
        return p
    return tf.where(tf.stop_gradient(p) <= constant(0, p), constant(0, p) * p, p)


def ensure_weight_sizes(
    op: str, x: tf.Tensor, name: str, weight: tf.Tensor, layout: str, expected: Sequence[Any]
) -> tuple[tf.Tensor, tf.Tensor]:
    """`x` and a weight of known rank, after a run-time check of its sizes; None is any size."""
    known = all(size is None or isinstance(size, int) for size in expected)
    if weight.shape.is_fully_defined() and known:
        return x, weight
    rank = len(expected)
    found = tf.concat([shape(weight), -tf.ones([rank], tf.int32)], 0)  # safe at any rank
    fits = [tf.equal(tf.size(shape(weight)), rank)]
    fits += [tf.equal(found[i], size) for i, size in enumerate(expected) if size is not None]
    remedy = "Its sizes must fit the features and the other weights."
    claim = tf.reduce_all(fits), f"{name} must be {layout}", remedy, [weight, x]
    x = ensure(op, x, [claim])
    with tf.control_dependencies([x]):
        return x, set_rank(weight, rank)
