"""`bilinear_pool` as one function with its own gradient, which holds little between the passes.

Let ``u = s / n`` be the descriptor of a sample, ``s`` its signed root and ``n`` its norm (or the
floor). The gradient can be computed from the output: ``|s| = n |u|``, so the slope of the root is
``1 / (2 n |u|)``. For the cotangents γ of u and ν of n,

    h = (γ + u (ν n − ⟨u, γ⟩)) / (2 n Z |s|),

without the second term at or below the floor, and with 0·γ where s = 0. The gradients are ``y hᵀ``
and ``x h``. For one stream they are a single product, ``x (h + hᵀ)``; as u is symmetric, h + hᵀ is
the h of γ + γᵀ and 2ν. For a packed descriptor |s| is w times the root and h counts w times, with
w = √2 above the diagonal and 1 on it; then h + hᵀ is twice the h above, at every entry.

The inputs, the output (in float32 for half-precision dtypes) and n are held. Because n is an output
too, h is a function of outputs alone, and its derivatives of any order use this gradient again.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from ...contract import DescriptorOptions
from ._tensors import constant, sizes, upcast, without_tape
from .half_vectorize import scale_off_diagonal, symmetric_matrix, upper_triangle
from .l2_normalize import floor_norm
from .outer_pool import count_locations, select_locations
from .signed_sqrt import signed_sqrt_unchecked

_Pair = tuple[tf.Tensor, tf.Tensor]


def fused_bilinear_pool(x: tf.Tensor, y: Any, mask: Any, options: DescriptorOptions) -> tf.Tensor:
    """Descriptors in the accumulation dtype."""
    reduction, eps, l2_eps, packed = options[:4]
    z = count_locations(x, mask, reduction)
    x, y = select_locations(x, mask), None if y is None else select_locations(y, mask)
    outputs: list[tf.Tensor] = []

    @tf.custom_gradient
    def function(*streams: tf.Tensor) -> tuple[_Pair, Callable[..., list[tf.Tensor]]]:
        def gradient(of_u: tf.Tensor, of_n: tf.Tensor) -> list[tf.Tensor]:
            # ForwardAccumulator calls the gradient before there are outputs.
            u, n = outputs or _formula(streams, z, eps, l2_eps, packed)
            return _gradients((of_u, of_n), streams, z, u, n, l2_eps, packed)

        return _formula(without_tape(*streams), z, eps, l2_eps, packed), gradient

    outputs.extend(function(*([x] if y is None else [x, y])))  # pyright: ignore
    return outputs[0]


def _formula(streams, z, eps, l2_eps, packed) -> _Pair:
    """Descriptors and norms with their floor, step by step."""
    x, y = upcast(streams[0]), upcast(streams[-1])
    g = tf.matmul(x, y, transpose_a=True)
    n, c, d = sizes(g)
    g = upper_triangle(g) if packed else tf.reshape(g, [n, c * d])
    s = signed_sqrt_unchecked(g if z is None else g / z, eps)
    s = scale_off_diagonal(s, c) if packed else s
    norm = floor_norm(s, l2_eps)
    return s / norm, norm


def _gradients(cotangents, streams, z, u, n, l2_eps, packed) -> list[tf.Tensor]:
    """Gradients of the streams, in differentiable steps."""
    x, y = upcast(streams[0]), upcast(streams[-1])
    samples, c, d = matrix = [*sizes(x)[::2], sizes(y)[2]]
    cotangent, slope = cotangents
    along = tf.reduce_sum(u * cotangent, -1, keepdims=True)
    short = tf.stop_gradient(n) <= constant(l2_eps, n)
    across = tf.where(short, constant(0, n), slope * n - along)
    if len(streams) == 1 and not packed:
        square = tf.reshape(cotangent, matrix)
        cotangent = tf.reshape(square + tf.linalg.matrix_transpose(square), [samples, c * d])
        across = 2 * across
    dead = tf.equal(tf.stop_gradient(u), constant(0, u))
    root = tf.where(dead, constant(float("inf"), u), n * tf.abs(u))  # NaN / inf stays NaN
    scale = constant(1 if packed else 0.5, n) / n  # divided in steps: n Z |s| could overflow
    h = (cotangent + u * across) / root * (scale if z is None else scale / z)
    h = symmetric_matrix(h, d) if packed else tf.reshape(h, matrix)
    gradients = [tf.matmul(x, h)]
    if len(streams) == 2:
        gradients.insert(0, tf.matmul(y, h, transpose_b=True))
    return [tf.cast(g, t.dtype) for g, t in zip(gradients, streams, strict=True)]
