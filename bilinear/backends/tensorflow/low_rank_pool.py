"""Low-rank bilinear pooling: products of projections, pooled."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from ...contract import Reduction
from ...contract.low_rank import Activation, check_low_rank_pool
from ._tensors import (
    as_written,
    constant,
    operands,
    required,
    shape,
    sizes,
    spec,
    sure,
    sure_locations,
    wide,
)
from .hadamard_pool import even_windows, pooled
from .outer_pool import kept


@as_written
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
    """Bilinear pooling of rank `rank` in each entry: ``hadamard_pool(σ(x u), σ(y v))``.

    ``y=None`` is one stream, y = x; u and v stay two matrices. `activation` σ is None,
    ``"tanh"``, ``"relu"`` or ``"sigmoid"``.

    Shapes: x (N, L, C), u (C, R), v (D, R), y (N, L, D), mask (N, L) boolean -> (N, R / rank).
        Anything `tf.convert_to_tensor` takes; sizes, and the rank, may be unknown until run time.
    Gradient: with γ the cotangent spread over its windows, p = x u and q = y v,
        ``∂p = σ'(p) ∘ γ ∘ σ(q) / Z``, ``∂x = ∂p uᵀ``, ``∂u = Σ xᵀ ∂p``; for y and v likewise.
    Edges: a masked location enters no product and no gradient, of u and v neither, NaN included,
        whatever σ(0) is; a sample without a location kept pools to 0. The slope of relu at
        exactly 0 is 0. Half types are computed in float32.
    Cost: time N·L·(C + D)·R, memory N·L·R; nothing of size C·D.
    Raises: ValueError and TypeError as `bilinear.contract.low_rank.check_low_rank_pool`; sizes
        unknown when a tf.function is traced as `outer_pool`.
    Source: Kim et al., ICLR 2017, section 3 (there of one location); Yu et al., ICCV 2017,
        section 3 (windows).
    """
    op = "low_rank_pool"
    x, y, mask = operands(op, x, y, mask)
    u, v = required(op, "u", u), required(op, "v", v)
    check_low_rank_pool(spec(x), spec(u), spec(v), spec(y), activation, rank, spec(mask), reduction)
    x, y, mask = sure_locations(op, x, y, mask)
    of_u, of_v = [sizes(x)[2], None], [sizes(x if y is None else y)[2], None]
    x, u = sure_weight(op, x, "u", u, "(C, R)", of_u)
    of_v[1] = sizes(u)[1]
    x, v = sure_weight(op, x, "v", v, "(D, R)", of_v)
    u = sure(op, u, even_windows(u, rank))
    return tf.cast(factored(x, u, v, y, activation, rank, mask, reduction), x.dtype)


def factored(
    x: tf.Tensor,
    u: tf.Tensor,
    v: tf.Tensor,
    y: Any,
    activation: Activation,
    rank: int,
    mask: Any,
    reduction: Reduction,
) -> tf.Tensor:
    """The unchecked formula, in the accumulation dtype."""
    x_kept = kept(wide(x), mask)
    y_kept = x_kept if y is None else kept(wide(y), mask)
    pairs = (x_kept, u), (y_kept, v)
    streams = [activated(projected(s, wide(w)), activation) for s, w in pairs]
    return pooled(streams, rank, mask, reduction)


def projected(x: tf.Tensor, u: tf.Tensor) -> tf.Tensor:
    """``x u`` of every location, as one product, whose gradient is one too."""
    n, locations, c = sizes(x)
    product = tf.matmul(tf.reshape(x, [n * locations, c]), u)
    return tf.reshape(product, [n, locations, sizes(u)[1]])


def activated(p: tf.Tensor, activation: Activation) -> tf.Tensor:
    """σ(p). relu keeps 0·p where it is 0, which lets a NaN cotangent through."""
    if activation == "tanh":
        return tf.tanh(p)
    if activation == "sigmoid":
        return tf.sigmoid(p)
    if activation is None:
        return p
    return tf.where(tf.stop_gradient(p) <= constant(0, p), constant(0, p) * p, p)


def sure_weight(
    op: str, x: tf.Tensor, name: str, weight: tf.Tensor, layout: str, expected: Sequence[Any]
) -> tuple[tf.Tensor, tf.Tensor]:
    """`x`, once the sizes of a weight that nobody could see fit it, and the weight of known rank.

    `expected` has a number, a scalar tensor, or None where any size will do.
    """
    known = all(size is None or isinstance(size, int) for size in expected)
    if weight.shape.is_fully_defined() and known:
        return x, weight
    rank = len(expected)
    own = tf.concat([shape(weight), -tf.ones([rank], tf.int32)], 0)  # safe at any rank
    fits = [tf.equal(tf.size(shape(weight)), rank)]
    fits += [tf.equal(own[i], size) for i, size in enumerate(expected) if size is not None]
    remedy = "Its sizes must fit the features and the other weights."
    claim = tf.reduce_all(fits), f"{name} must be {layout}", remedy, [weight, x]
    x = sure(op, x, [claim])
    with tf.control_dependencies([x]):
        at_run_time = shape(weight)
        if weight.shape.rank is None:  # a reshape: `tf.ensure_shape` breaks ForwardAccumulator
            weight = tf.reshape(weight, [at_run_time[i] for i in range(rank)])
    return x, weight
