"""The pooled element-wise products of streams."""

import itertools
from collections.abc import Sequence
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
    as_written,
    operands,
    required,
    shape,
    sizes,
    spec,
    sure,
    sure_locations,
    wide,
)
from .outer_pool import count, kept


@as_written
def hadamard_pool(
    x: Any,
    y: Any,
    *more: Any,
    rank: int = 1,
    mask: Any = None,
    reduction: Reduction = "mean",
) -> tf.Tensor:
    """Pool the element-wise products of every two streams over all locations.

    For streams i < j, in the order (0, 1), (0, 2), …, (1, 2), …:
    ``h[n,k] = (1/Z) Σ_l Σ_r xᵢ[n,l,r] · xⱼ[n,l,r]`` over the locations kept and the `rank`
    consecutive channels r of window k, where Z is the number of locations kept for ``"mean"`` and
    1 for ``"sum"``.

    Shapes: each stream (N, L, R), mask (N, L) boolean, True where kept
        -> (N, pairs · R / rank), pair by pair. Anything `tf.convert_to_tensor` takes; sizes,
        and the rank, may be unknown until run time.
    Gradient: ``γ ∘ xⱼ / Z`` and ``γ ∘ xᵢ / Z``, γ spread over its window, summed over pairs.
    Edges: a masked location enters no product, NaN included, and its gradient is 0; a sample
        without a location kept pools to 0 with gradient 0. Half types accumulate in float32.
    Cost: time and memory N·L·R a pair; nothing of size R².
    Raises: ValueError and TypeError as `bilinear.contract.low_rank.check_hadamard_pool`; sizes
        unknown when a tf.function is traced as `outer_pool`.
    Source: Kim et al., ICLR 2017, section 3; Yu et al., ICCV 2017, section 3; Yu et al., ECCV 2018.
    """
    op = "hadamard_pool"
    x, y, mask = operands(op, x, y, mask)
    others = [y, *(required(op, f"more[{i}]", stream) for i, stream in enumerate(more))]
    check_hadamard_pool([spec(s) for s in (x, *others)], rank, spec(mask), reduction)
    for i, other in enumerate(others):
        x, others[i], chosen = sure_locations(op, x, other, mask)
    x = sure(op, x, [*_alike(x, others), *even_windows(x, rank)])
    with tf.control_dependencies([x]):
        streams = [wide(stream) for stream in (x, *others)]
    return tf.cast(pooled(streams, rank, chosen, reduction), x.dtype)


def _alike(x: tf.Tensor, others: Sequence[tf.Tensor]) -> list[Any]:
    """That streams are as wide as x, where that is not known yet."""
    return [
        (
            tf.equal(shape(x)[2], shape(other)[2]),
            SAME_CHANNELS,
            SAME_CHANNELS_REMEDY,
            [x, other],
        )
        for other in others
        if None in (x.shape[2], other.shape[2])
    ]


def even_windows(x: tf.Tensor, rank: int) -> list[Any]:
    """That windows come out even on the last axis of x, where that is not known yet."""
    if x.shape[-1] is not None:
        return []
    return [(tf.equal(tf.math.floormod(shape(x)[-1], rank), 0), WINDOWS, WINDOWS_REMEDY, [x])]


def pooled(streams: Sequence[tf.Tensor], rank: int, mask: Any, reduction: Reduction) -> tf.Tensor:
    """The unchecked formula, of streams in the accumulation dtype."""
    chosen = [kept(stream, mask) for stream in streams]
    sums = [tf.reduce_sum(a * b, 1) for a, b in itertools.combinations(chosen, 2)]
    h = tf.concat(sums, 1)
    if rank > 1:
        n, r = sizes(h)
        h = tf.reduce_sum(tf.reshape(h, [n, r // rank, rank]), 2)
    z = count(chosen[0], mask, reduction)
    return h if z is None else h / z
