"""`bilinear_pool` as one function: little is held between the passes, and little is read twice.

With ``u = s / n`` the descriptor of a sample, ``s`` its signed root and ``n`` the norm (or its
floor), all that the gradient needs can be read off the output: ``|s| = n |u|``, so the slope of
the root is ``1 / (2 n |u|)``. From cotangents γ of u and ν of n,

    h = (γ + u (ν n − ⟨u, γ⟩)) / (2 n Z |s|),

without the second term at or below the floor and 0·γ where s = 0, and the gradients are ``y hᵀ``
and ``x h``. For one stream they are one product, ``x (h + hᵀ)``, and as u is symmetric h + hᵀ is h
of γ + γᵀ and 2ν. Of half a descriptor |s| is w times the root, and h counts w times, once more:
with w = √2 above the diagonal and 1 on it, h + hᵀ is, on both sides of the diagonal and on it, the
h above times 2. Held are the inputs, the output (in float32 for half types) and n. Because n is an
output too, h is a function of outputs alone, and its derivatives, of any order, are found by this
gradient again.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from ._tensors import constant, sizes, wide
from .half_vectorize import symmetric, upper, weighed
from .l2_normalize import floored
from .signed_sqrt import rooted

_Pair = tuple[tf.Tensor, tf.Tensor]


def fused(x: tf.Tensor, y: Any, z: Any, eps: float, l2_eps: float, packed: bool) -> tf.Tensor:
    """Descriptors in the accumulation dtype, or halves of one stream's, with their own gradient.

    Z is a scalar, one number a sample in a column, or None for 1.
    """
    outputs: list[tf.Tensor] = []

    @tf.custom_gradient
    def function(*streams: tf.Tensor) -> tuple[_Pair, Callable[..., list[tf.Tensor]]]:
        def gradient(of_u: tf.Tensor, of_n: tf.Tensor) -> list[tf.Tensor]:
            # ForwardAccumulator asks before there are outputs.
            u, n = outputs or _formula(streams, z, eps, l2_eps, packed)
            return _gradients((of_u, of_n), streams, z, u, n, l2_eps, packed)

        return _formula(_unrecorded(streams), z, eps, l2_eps, packed), gradient

    outputs.extend(function(*([x] if y is None else [x, y])))  # pyright: ignore
    return outputs[0]


def _unrecorded(streams: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, ...]:
    """`streams`, of which no tape holds what is computed from them.

    Not in a graph, which holds only what is needed: `tf.vectorized_map` drops gradients of our
    own, and those of the formula's steps have to stand in.
    """
    return tuple(map(tf.stop_gradient, streams)) if tf.executing_eagerly() else streams


def _formula(
    streams: tuple[tf.Tensor, ...], z: Any, eps: float, l2_eps: float, packed: bool
) -> _Pair:
    """Descriptors and floored norms, step by step."""
    x, y = wide(streams[0]), wide(streams[-1])
    g = tf.matmul(x, y, transpose_a=True)
    n, c, d = sizes(g)
    g = upper(g) if packed else tf.reshape(g, [n, c * d])
    s = rooted(g if z is None else g / z, eps)
    s = weighed(s, c) if packed else s
    norm = floored(s, l2_eps)
    return s / norm, norm


def _gradients(
    cotangents: _Pair,
    streams: tuple[tf.Tensor, ...],
    z: Any,
    u: tf.Tensor,
    n: tf.Tensor,
    l2_eps: float,
    packed: bool,
) -> list[tf.Tensor]:
    """Of the streams, in steps that can be differentiated."""
    x, y = wide(streams[0]), wide(streams[-1])
    matrix = [*sizes(x)[::2], sizes(y)[2]]
    cotangent, slope = cotangents
    across = _across(cotangent, slope, u, n, l2_eps)
    if len(streams) == 1 and not packed:
        cotangent, across = _with_transpose(cotangent, matrix), 2 * across
    h = (cotangent + u * across) / _root(u, n) * _scale(z, n, packed)
    h = symmetric(h, matrix[2]) if packed else tf.reshape(h, matrix)
    if len(streams) == 1:
        gradients = [tf.matmul(x, h)]
    else:
        gradients = [tf.matmul(y, h, transpose_b=True), tf.matmul(x, h)]
    return [tf.cast(g, t.dtype) for g, t in zip(gradients, streams, strict=True)]


def _across(
    cotangent: tf.Tensor, slope: tf.Tensor, u: tf.Tensor, n: tf.Tensor, l2_eps: float
) -> tf.Tensor:
    """``ν n − ⟨u, γ⟩`` of the samples above the floor, and 0."""
    along = tf.reduce_sum(u * cotangent, -1, keepdims=True)
    short = tf.stop_gradient(n) <= constant(l2_eps, n)
    return tf.where(short, constant(0, n), slope * n - along)


def _with_transpose(cotangent: tf.Tensor, matrix: list[Any]) -> tf.Tensor:
    """``γ + γᵀ``, flat as γ is."""
    square = tf.reshape(cotangent, matrix)
    samples, c, d = matrix
    return tf.reshape(square + tf.linalg.matrix_transpose(square), [samples, c * d])


def _root(u: tf.Tensor, n: tf.Tensor) -> tf.Tensor:
    """``|s|``, and infinite where it is 0: finite / inf is 0, but NaN / inf is NaN."""
    dead = tf.equal(tf.stop_gradient(u), constant(0, u))
    return tf.where(dead, constant(float("inf"), u), n * tf.abs(u))


def _scale(z: Any, n: tf.Tensor, packed: bool) -> tf.Tensor:
    """``1 / (2 n Z)``, twice that if packed: apart, as with ``|s|`` it could overflow."""
    scale = constant(1 if packed else 0.5, n) / n
    return scale if z is None else scale / z
