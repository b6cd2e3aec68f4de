"""The published formulas of the operators in TensorFlow."""

import numpy as np
import tensorflow as tf

from .calls import DIM
from .layers import formulas


def outer_pool(x, y=None):
    return tf.matmul(x, x if y is None else y, transpose_a=True) / x.shape[1]


def signed_sqrt(g):
    return tf.sign(g) * tf.sqrt(tf.abs(g) + 1e-10)


def l2_normalize(z):
    return tf.math.l2_normalize(z, axis=-1)


def bilinear_pool(x, y=None, packed=False):
    s = signed_sqrt(outer_pool(x, y))
    return l2_normalize(half_vectorize(s) if packed else tf.reshape(s, (s.shape[0], -1)))


def bilinear_scores(x, weight, bias):
    return tf.matmul(bilinear_pool(x), weight, transpose_b=True) + bias


def triangle(g):
    rows, columns = np.triu_indices(g.shape[1])
    flat = tf.reshape(g, (g.shape[0], -1))
    return tf.gather(flat, rows * g.shape[1] + columns, axis=1)


def half_vectorize(g):
    rows, columns = np.triu_indices(g.shape[1])
    weights = np.where(rows == columns, 1.0, 2**0.5).astype("float32")
    return triangle(g) * weights


def tensor_sketch(x, tables):
    """With dense sketch matrices and complex FFTs of every location."""
    spread = (tf.matmul(x, _dense(h, s)) for h, s in (tables[:2], tables[2:4]))
    a, b = (tf.signal.fft(tf.complex(p, tf.zeros_like(p))) for p in spread)
    return tf.reduce_mean(tf.math.real(tf.signal.ifft(a * b)), 1)


def _dense(h, s):
    matrix = np.zeros((len(h), DIM), np.float32)
    matrix[np.arange(len(h)), h] = s
    return matrix


def random_maclaurin(x, tables):
    w1, w2 = (tf.constant(w, x.dtype) for w in tables)
    return tf.reduce_mean(tf.matmul(x, w1) * tf.matmul(x, w2), 1) / DIM**0.5


def covariance_pool(x):
    n = x.shape[1]
    center = tf.constant(np.eye(n) / n - 1 / n**2, x.dtype)
    return tf.matmul(x, tf.matmul(center, x), transpose_a=True)


def _newton_schulz(a, size):
    eye = 3 * tf.eye(a.shape[-1], dtype=a.dtype)
    y, z = a / size, tf.broadcast_to(eye / 3, a.shape)
    for _ in range(5):
        t = 0.5 * (eye - tf.matmul(z, y))
        y, z = tf.matmul(y, t), tf.matmul(t, z)
    return y * tf.sqrt(size)


def matrix_sqrt(a):
    return _newton_schulz(a, tf.linalg.trace(a)[:, None, None])


def frobenius_root(a):
    return _newton_schulz(a, tf.norm(a, axis=(1, 2), keepdims=True))


def low_rank_scores(x, plus, minus, bias):
    above, below = (tf.einsum("nlc,kcr->nlkr", x, u) for u in (plus, minus))
    return tf.reduce_sum(above**2, (1, 3)) - tf.reduce_sum(below**2, (1, 3)) + bias


def democratic_weights(x):
    kernel = tf.matmul(x, x, transpose_b=True) ** 2
    target = tf.sqrt(tf.reduce_sum(kernel, 2))
    weights = tf.ones_like(target)
    for _ in range(10):
        sums = tf.linalg.matvec(kernel, weights) + 1e-10
        weights = tf.sqrt(target + 1e-10) * tf.sqrt(weights + 1e-10) / (tf.sqrt(sums) + 1e-10)
    return weights


def hadamard_pool(x, y):
    return tf.reduce_mean(x * y, 1)


def low_rank_pool(x, u, v):
    return hadamard_pool(tf.matmul(x, u), tf.matmul(x, v))


def outer_max_pool(x):
    return tf.reduce_max(x[:, :, :, None] * x[:, :, None, :], 1)


def concatenate(parts):
    return tf.concat(parts, 1)


def flatten(g):
    return tf.reshape(g, (g.shape[0], -1))


FORMULAS = formulas(globals())
