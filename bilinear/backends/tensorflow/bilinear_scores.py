"""Scores of a linear classifier on the bilinear descriptor, without the descriptor in memory."""

from typing import Any

import numpy as np
import tensorflow as tf

from ...contract import EPS, L2_EPS, DescriptorOptions, Reduction
from ...contract.pooling import check_bilinear_scores, scores_layout
from ..row_blocks import entries, row_blocks
from ._tensors import (
    constant,
    ensure_locations,
    shape,
    sizes,
    spec,
    to_tensor,
    to_tensors,
    upcast,
    without_autograph,
    without_tape,
)
from .half_vectorize import scale_off_diagonal, upper_triangle
from .l2_normalize import floor_root
from .low_rank_pool import ensure_weight_sizes
from .outer_pool import count_locations, select_locations
from .signed_sqrt import signed_sqrt_unchecked

_Pair = tuple[tf.Tensor, tf.Tensor]
_Streams = tuple[tf.Tensor, ...]


@without_autograph
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
    """Linear scores of the bilinear descriptor, which is not stored.

    ``bilinear_pool(x, y) weightᵀ + bias``. For a trained `BCNN` with a `BilinearPool`, weight and
    bias are ``keras.ops.transpose(model.classifier.kernel)`` and ``model.classifier.bias``.
    Specification: `bilinear.reference.bilinear_scores`. Cost: time O(N·C·D·(L + K)), three times
    that for the gradient, which computes the roots again. Memory about (2K + 4N)·C·D / 8 besides
    the inputs, also in a `tf.function`. XLA copies the whole weight. If C is unknown, the whole
    matrix is formed. The gradient also needs memory for the gradients of the inputs, and two copies
    of that of the weight. Only the inputs are saved for the backward pass.

    Args:
        x: (N, L, C) features.
        weight: (K, C·D), or (K, C(C+1)/2) if packed.
        bias: (K,), or None for 0.
        y: (N, L, D) features of a second stream; None means y = x.
        mask: (N, L) boolean, True at the valid locations; None means that all are valid.
        reduction: "mean" divides the sum by the number of valid locations, "sum" does not.
        eps: added inside the signed square root; a Python number, 0 or normal and positive.
        l2_eps: lower bound of the norm; a Python number, normal and positive.
        packed: use the upper triangle as `half_vectorize` does; one stream only.

    Returns: (N, K) in the dtype of x.
    """
    op = "bilinear_scores"
    x, y, mask = to_tensors(op, x, y, mask)
    weight = to_tensor(op, "weight", weight)
    bias = None if bias is None else to_tensor(op, "bias", bias)
    options = DescriptorOptions(reduction, eps, l2_eps, packed)
    check_bilinear_scores(spec(x), spec(weight), spec(bias), spec(y), spec(mask), options)
    x, y, mask = ensure_locations(op, x, y, mask)
    c, d = sizes(x)[2], sizes(x if y is None else y)[2]
    of_weight = [None, c * (c + 1) // 2 if packed else c * d]
    x, weight = ensure_weight_sizes(op, x, "weight", weight, scores_layout(y, packed), of_weight)
    if bias is not None:
        x, bias = ensure_weight_sizes(op, x, "bias", bias, "(K,)", [sizes(weight)[0]])
    return tf.cast(bilinear_scores_unchecked(x, weight, bias, y, mask, options), x.dtype)


def bilinear_scores_unchecked(x, weight, bias, y, mask, options: DescriptorOptions) -> tf.Tensor:
    reduction, eps, l2_eps, packed = options[:4]
    x, w = select_locations(upcast(x), mask), upcast(weight)
    streams = x, x if y is None else select_locations(upcast(y), mask)
    z = count_locations(x, mask, reduction)
    # the rows are split into blocks where their number is known
    sums = _recompute_sums if isinstance(x.shape[2], int) else _sums
    products, square = sums(w, streams, z, eps, packed)
    scores = products / floor_root(square, l2_eps)
    return scores if bias is None else scores + upcast(bias)


def _recompute_sums(w: tf.Tensor, streams: _Streams, z: Any, eps: float, packed: bool) -> _Pair:
    """`_sums` that holds only its inputs; the gradient computes the rest again."""

    @tf.custom_gradient
    def function(w: tf.Tensor, *streams: tf.Tensor) -> Any:
        def gradient(of_products: tf.Tensor, of_square: tf.Tensor) -> list[tf.Tensor]:
            return _gradients((of_products, of_square), w, streams, z, eps, packed)

        weight, *features = without_tape(w, *streams)
        return _sums(weight, tuple(features), z, eps, packed), gradient

    return function(w, *streams)  # pyright: ignore


def _sums(w: tf.Tensor, streams: _Streams, z: Any, eps: float, packed: bool) -> _Pair:
    """``W s`` (N, K) and ``‖s‖²`` (N, 1), one block of rows of the matrix at a time.

    In a graph each block waits for the one before, or all blocks of the weight would be copied at
    once. A loop would enforce this under XLA too, but ForwardAccumulator in a `tf.function`
    does not support loops.
    """
    c = sizes(streams[0])[2]
    parts = []
    for rows in row_blocks(c) if isinstance(c, int) else [slice(0, c)]:
        with tf.control_dependencies(parts[-1] if parts else ()):
            weight, *features = map(tf.identity, (w, *streams))
            parts.append(_block_sums(weight, tuple(features), z, eps, packed, rows))
    products, square = (tf.add_n(terms) for terms in zip(*parts, strict=True))
    return products, square


def _block_sums(w, streams, z, eps, packed, rows) -> _Pair:
    """Terms of one block of rows in both sums."""
    s = _flat(_roots(streams, z, eps, rows, packed), packed)
    of_rows = w[:, entries(rows, sizes(streams[-1])[2], packed)]
    return tf.matmul(s, of_rows, transpose_b=True), tf.reduce_sum(s * s, 1, keepdims=True)


def _gradients(cotangents, w, streams, z, eps, packed) -> list[tf.Tensor]:
    """Gradients of the weight and the streams, in differentiable steps."""
    of_products, of_square = cotangents
    (x, y), of_x, of_y, of_w = streams, [], [], []
    for rows in row_blocks(x.shape[2]):
        m = _roots(streams, z, eps, rows, packed)
        s, of = _flat(m, packed), entries(rows, sizes(y)[2], packed)
        of_w.append(tf.matmul(of_products, s, transpose_a=True))
        ds = tf.matmul(of_products, w[:, of]) + constant(2, s) * of_square * s
        dead = tf.equal(tf.stop_gradient(m), constant(0, m))  # there the slope is 0
        slope = constant(0.5, m) / tf.where(dead, constant(1, m), tf.abs(m))
        dg = tf.where(dead, constant(0, m), slope) * _unflat(ds, m, packed)
        dg = dg if z is None else dg / tf.expand_dims(z, -1)
        first = rows.start if packed else 0
        of_x.append(tf.matmul(y[:, :, first:], dg, transpose_b=True))
        of_y.append(tf.pad(tf.matmul(x[:, :, rows], dg), [[0, 0], [0, 0], [first, 0]]))
    return [tf.concat(of_w, 1), tf.concat(of_x, 2), tf.add_n(of_y)]


def _roots(streams: _Streams, z: Any, eps: float, rows: slice, packed: bool) -> tf.Tensor:
    """Roots of a block of rows; if packed, of the columns from its first row on."""
    first = rows.start if packed else 0
    g = tf.matmul(streams[0][:, :, rows], streams[-1][:, :, first:], transpose_a=True)
    return signed_sqrt_unchecked(g if z is None else g / tf.expand_dims(z, -1), eps)


def _flat(m: tf.Tensor, packed: bool) -> tf.Tensor:
    """Entries of a block of rows as in the descriptor; if packed, scaled off the diagonal."""
    samples, rows, columns = sizes(m)
    if packed and not isinstance(rows, int):  # a single block
        return scale_off_diagonal(upper_triangle(m), rows)
    flat = tf.reshape(m, [samples, rows * columns])
    if not packed:
        return flat
    row, column = np.triu_indices(rows, 0, columns)
    return tf.gather(flat, (row * columns + column).astype(np.int32), axis=1) * _weights(m)


def _unflat(s: tf.Tensor, m: tf.Tensor, packed: bool) -> tf.Tensor:
    """Transpose of `_flat`, by a gather; entries below the diagonal read an appended 0."""
    if not packed:
        return tf.reshape(s, shape(m))
    _, rows, columns = sizes(m)
    pairs = np.triu_indices(rows, 0, columns)
    origin = np.full((rows, columns), len(pairs[0]), np.int32)
    origin[pairs] = np.arange(len(pairs[0]))
    padded = tf.pad(s * _weights(m), [[0, 0], [0, 1]])
    return tf.reshape(tf.gather(padded, origin.ravel(), axis=1), shape(m))


def _weights(m: tf.Tensor) -> tf.Tensor:
    """1 on the diagonal and √2 above it, for the packed entries of a block of rows."""
    _, rows, columns = sizes(m)
    row, column = np.triu_indices(rows, 0, columns)
    return tf.constant(np.where(row == column, 1, 2**0.5), m.dtype)
