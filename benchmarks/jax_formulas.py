"""The published formulas of the operators in JAX."""

import jax.numpy as jnp
import numpy as np

from .calls import DIM
from .layers import formulas


def outer_pool(x, y=None):
    return jnp.einsum("nlc,nld->ncd", x, x if y is None else y) / x.shape[1]


def signed_sqrt(g):
    return jnp.sign(g) * jnp.sqrt(jnp.abs(g) + 1e-10)


def l2_normalize(z):
    return z / jnp.maximum(jnp.linalg.norm(z, axis=-1, keepdims=True), 1e-12)


def bilinear_pool(x, y=None, packed=False):
    s = signed_sqrt(outer_pool(x, y))
    return l2_normalize(half_vectorize(s) if packed else s.reshape(s.shape[0], -1))


def bilinear_scores(x, weight, bias):
    return bilinear_pool(x) @ weight.T + bias


def triangle(g):
    return g[:, *np.triu_indices(g.shape[1])]


def half_vectorize(g):
    rows, columns = np.triu_indices(g.shape[1])
    return triangle(g) * np.where(rows == columns, 1.0, 2**0.5).astype(g.dtype)


def tensor_sketch(x, tables):
    """With dense sketch matrices and complex FFTs of every location."""
    a, b = (x @ _dense(h, s) for h, s in (tables[:2], tables[2:4]))
    return jnp.fft.ifft(jnp.fft.fft(a) * jnp.fft.fft(b)).real.mean(1)


def _dense(h, s):
    matrix = np.zeros((len(h), DIM), np.float32)
    matrix[np.arange(len(h)), h] = s
    return matrix


def random_maclaurin(x, tables):
    w1, w2 = (np.asarray(w, np.float32) for w in tables)
    return ((x @ w1) * (x @ w2)).mean(1) / DIM**0.5


def covariance_pool(x):
    n = x.shape[1]
    center = np.asarray(np.eye(n) / n - 1 / n**2, np.float32)
    return x.swapaxes(1, 2) @ center @ x


def _newton_schulz(a, size):
    eye = 3 * jnp.eye(a.shape[-1], dtype=a.dtype)
    y, z = a / size, eye / 3
    for _ in range(5):
        t = 0.5 * (eye - z @ y)
        y, z = y @ t, t @ z
    return y * jnp.sqrt(size)


def matrix_sqrt(a):
    return _newton_schulz(a, jnp.trace(a, axis1=1, axis2=2)[:, None, None])


def frobenius_root(a):
    return _newton_schulz(a, jnp.sqrt((a * a).sum((1, 2), keepdims=True)))


def low_rank_scores(x, plus, minus, bias):
    above, below = (jnp.einsum("nlc,kcr->nlkr", x, u) for u in (plus, minus))
    return (above**2).sum((1, 3)) - (below**2).sum((1, 3)) + bias


def democratic_weights(x):
    kernel = (x @ x.swapaxes(1, 2)) ** 2
    target = jnp.sqrt(kernel.sum(2))
    weights = jnp.ones_like(target)
    for _ in range(10):
        sums = (kernel @ weights[:, :, None])[:, :, 0] + 1e-10
        weights = jnp.sqrt(target + 1e-10) * jnp.sqrt(weights + 1e-10) / (jnp.sqrt(sums) + 1e-10)
    return weights


def hadamard_pool(x, y):
    return (x * y).mean(1)


def low_rank_pool(x, u, v):
    return hadamard_pool(x @ u, x @ v)


def outer_max_pool(x):
    return (x[:, :, :, None] * x[:, :, None, :]).max(1)


def concatenate(parts):
    return jnp.concatenate(parts, 1)


def flatten(g):
    return g.reshape(g.shape[0], -1)


FORMULAS = formulas(globals())
