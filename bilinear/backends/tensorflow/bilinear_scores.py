"""The scores of a linear classifier on the bilinear descriptor, which is never held."""

from typing import Any

import numpy as np
import tensorflow as tf

from ...contract import EPS, L2_EPS, DescriptorOptions, Reduction
from ...contract.pooling import check_bilinear_scores, scores_layout
from ..row_blocks import entries, row_blocks
from ._tensors import (
    as_written,
    constant,
    operands,
    required,
    shape,
    sizes,
    spec,
    sure_locations,
    wide,
)
from .half_vectorize import upper, weighed
from .l2_normalize import length
from .low_rank_pool import sure_weight
from .outer_pool import count, kept
from .signed_sqrt import rooted

_Pair = tuple[tf.Tensor, tf.Tensor]
_Streams = tuple[tf.Tensor, ...]


@as_written
def bilinear_scores(
    x: Any,
    weight: Any,
    bias: Any = None,
    y: Any = None,
    *,
    mask: Any = None,
    reduction: Reduction = "mean",
    eps: float = EPS,
    l2_eps: float = L2_EPS,
    packed: bool = False,
) -> tf.Tensor:
    """Linear scores of the bilinear descriptor: ``bilinear_pool(x, y) Wᵀ + b``.

    With s the roots of the pooled matrix, flattened row-major or halved as in `bilinear_pool`,
    ``scores = (W s) / max(‖s‖, l2_eps) + b``. Both sums are taken some rows of the matrix at a
    time, and the norm divides the scores. Of a trained `BCNN` with a `BilinearPool`, weight and
    bias are ``keras.ops.transpose(model.classifier.kernel)`` and ``model.classifier.bias``.

    Shapes: x (N, L, C), weight (K, C·D), or (K, C(C+1)/2) if packed, bias (K,), y (N, L, D),
        mask (N, L) boolean -> (N, K). Anything `tf.convert_to_tensor` takes; sizes, and the rank,
        may be unknown until run time; where C is, the matrix is taken whole.
    Gradient: for the cotangent γ, ``∂W = γᵀ u`` with u the descriptors, ``∂b = Σ_n γ``, and that of
        `bilinear_pool` for the cotangent ``γ W``; the roots are computed again.
    Edges: those of `bilinear_pool`; a descriptor of 0 scores b. Half types are widened to float32
        once at the start and rounded once at the end.
    Cost: time N·C·D·(L + K), the gradient thrice that. Memory without gradient about
        (2K + 4N)·C·D / 8 beside the inputs, also in a tf.function; XLA copies all of the weight.
        With it their gradients too, that of the weight twice; between the passes the inputs are
        held.
    Raises: ValueError and TypeError as `bilinear.contract.pooling.check_bilinear_scores`; sizes
        unknown when a tf.function is traced as `outer_pool`.
    Source: Lin, RoyChowdhury, Maji, ICCV 2015, section 3: a linear classifier on the descriptor.
    """
    op = "bilinear_scores"
    x, y, mask = operands(op, x, y, mask)
    weight = required(op, "weight", weight)
    bias = None if bias is None else required(op, "bias", bias)
    options = DescriptorOptions(reduction, eps, l2_eps, packed)
    check_bilinear_scores(spec(x), spec(weight), spec(bias), spec(y), spec(mask), options)
    x, y, mask = sure_locations(op, x, y, mask)
    c, d = sizes(x)[2], sizes(x if y is None else y)[2]
    of_weight = [None, c * (c + 1) // 2 if packed else c * d]
    x, weight = sure_weight(op, x, "weight", weight, scores_layout(y, packed), of_weight)
    if bias is not None:
        x, bias = sure_weight(op, x, "bias", bias, "(K,)", [sizes(weight)[0]])
    return tf.cast(scored(x, weight, bias, y, mask, options), x.dtype)


def scored(
    x: tf.Tensor,
    weight: tf.Tensor,
    bias: Any,
    y: Any,
    mask: Any,
    options: DescriptorOptions,
) -> tf.Tensor:
    """The unchecked formula, in the accumulation dtype."""
    reduction, eps, l2_eps, packed = options[:4]
    x_kept, w = kept(wide(x), mask), wide(weight)
    y_kept = x_kept if y is None else kept(wide(y), mask)
    z = count(x_kept, mask, reduction)
    streams = (x_kept,) if y is None else (x_kept, y_kept)
    # rows can only be taken apart where their number is known
    sums = _recomputing if isinstance(x_kept.shape[2], int) else _sums
    products, square = sums(w, streams, z, eps, packed)
    scores = products / length(square, l2_eps)
    return scores if bias is None else scores + wide(bias)


def _recomputing(w: tf.Tensor, streams: _Streams, z: Any, eps: float, packed: bool) -> _Pair:
    """`_sums`, holding its inputs alone: what else the gradient needs is computed again."""

    @tf.custom_gradient
    def function(w: tf.Tensor, *streams: tf.Tensor) -> Any:
        def gradient(of_products: tf.Tensor, of_square: tf.Tensor) -> list[tf.Tensor]:
            return _gradients((of_products, of_square), w, streams, z, eps, packed)

        return _sums(*_unrecorded(w, streams), z, eps, packed), gradient

    return function(w, *streams)  # pyright: ignore


def _unrecorded(w: tf.Tensor, streams: _Streams) -> tuple[tf.Tensor, _Streams]:
    """The same, of which no tape holds what is computed from them.

    Not in a graph, which holds only what is needed: `tf.vectorized_map` drops gradients of our
    own, and those of the steps have to stand in.
    """
    if not tf.executing_eagerly():
        return w, streams
    return tf.stop_gradient(w), tuple(map(tf.stop_gradient, streams))


def _sums(w: tf.Tensor, streams: _Streams, z: Any, eps: float, packed: bool) -> _Pair:
    """``W s`` (N, K) and ``‖s‖²`` (N, 1), some rows of the matrix at a time.

    In a graph one block waits for the other, or all blocks of the weight would be copied at once.
    A loop would hold XLA to that as well, but no ForwardAccumulator in a tf.function takes it.
    """
    c = sizes(streams[0])[2]
    parts = []
    for rows in row_blocks(c) if isinstance(c, int) else [slice(0, c)]:
        with tf.control_dependencies(parts[-1] if parts else ()):
            own, *maps = map(tf.identity, (w, *streams))
            parts.append(_part(own, tuple(maps), z, eps, packed, rows))
    products, square = (tf.add_n(terms) for terms in zip(*parts, strict=True))
    return products, square


def _part(w: tf.Tensor, streams: _Streams, z: Any, eps: float, packed: bool, rows: slice) -> _Pair:
    """What some rows add to both sums."""
    s = _flat(_roots(streams, z, eps, rows, packed), packed)
    of_rows = w[:, entries(rows, sizes(streams[-1])[2], packed)]
    return tf.matmul(s, of_rows, transpose_b=True), tf.reduce_sum(s * s, 1, keepdims=True)


def _gradients(
    cotangents: _Pair, w: tf.Tensor, streams: _Streams, z: Any, eps: float, packed: bool
) -> list[tf.Tensor]:
    """Of the weight and the streams, in steps that can be differentiated."""
    of_products, of_square = cotangents
    x, y = streams[0], streams[-1]
    of_x, of_y, of_w = [], [], []
    for rows in row_blocks(x.shape[2]):
        m = _roots(streams, z, eps, rows, packed)
        s, of = _flat(m, packed), entries(rows, sizes(y)[2], packed)
        of_w.append(tf.matmul(of_products, s, transpose_a=True))
        ds = tf.matmul(of_products, w[:, of]) + constant(2, s) * of_square * s
        dg = _sloped(_unflat(ds, m, packed), m)
        dg = dg if z is None else dg / z[..., None]
        first = rows.start if packed else 0
        of_x.append(tf.matmul(y[:, :, first:], dg, transpose_b=True))
        of_y.append(tf.pad(tf.matmul(x[:, :, rows], dg), [[0, 0], [0, 0], [first, 0]]))
    dx, dy, dw = tf.concat(of_x, 2), tf.add_n(of_y), tf.concat(of_w, 1)
    return [dw, dx + dy] if len(streams) == 1 else [dw, dx, dy]


def _roots(streams: _Streams, z: Any, eps: float, rows: slice, packed: bool) -> tf.Tensor:
    """Those of some rows of the matrix; if half, of the columns from the first row on."""
    first = rows.start if packed else 0
    g = tf.matmul(streams[0][:, :, rows], streams[-1][:, :, first:], transpose_a=True)
    return rooted(g if z is None else g / z[..., None], eps)


def _sloped(dm: tf.Tensor, m: tf.Tensor) -> tf.Tensor:
    """``dm / (2 |m|)``, the slope of the root by the root, and 0 · dm where that is 0."""
    dead = tf.equal(tf.stop_gradient(m), constant(0, m))
    size = tf.where(dead, constant(1, m), tf.abs(m))
    return tf.where(dead, constant(0, m), constant(0.5, m) / size) * dm


def _flat(m: tf.Tensor, packed: bool) -> tf.Tensor:
    """Rows as the descriptor has them; a half has √2 times what is right of the diagonal."""
    samples, rows, columns = sizes(m)
    if packed and not isinstance(rows, int):  # all of them
        return weighed(upper(m), rows)
    flat = tf.reshape(m, [samples, rows * columns])
    if not packed:
        return flat
    row, column = np.triu_indices(rows, 0, columns)
    return tf.gather(flat, (row * columns + column).astype(np.int32), axis=1) * _weights(m)


def _unflat(s: tf.Tensor, m: tf.Tensor, packed: bool) -> tf.Tensor:
    """The transpose of `_flat`, gathered too: what is left of the diagonal is an entry of 0."""
    if not packed:
        return tf.reshape(s, shape(m))
    _, rows, columns = sizes(m)
    pairs = np.triu_indices(rows, 0, columns)
    origin = np.full((rows, columns), len(pairs[0]), np.int32)
    origin[pairs] = np.arange(len(pairs[0]))
    padded = tf.pad(s * _weights(m), [[0, 0], [0, 1]])
    return tf.reshape(tf.gather(padded, origin.ravel(), axis=1), shape(m))


def _weights(m: tf.Tensor) -> tf.Tensor:
    _, rows, columns = sizes(m)
    row, column = np.triu_indices(rows, 0, columns)
    return tf.constant(np.where(row == column, 1, 2**0.5), m.dtype)
