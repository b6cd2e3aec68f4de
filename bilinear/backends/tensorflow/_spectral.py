"""The matrix root by eigenvectors, whose derivatives are finite for equal eigenvalues and zeros.

Derivatives of eigenvectors divide by differences of eigenvalues, so eigenvectors U and eigenvalues
λ are constants here. For B = Uᵀ a U and K_ij = 1 / (√λi + √λj), a step

    H ← H + K ∘ (B − H H)

changes the value H = diag(√λ) by at most the distance of B from diag(λ), which it corrects, and
makes its derivatives exact to one order more: if H has an error E of order n in a change of B, then
H H has the error ``diag(√λ) · E + E · diag(√λ)`` plus terms of order n + 1, and K removes the
former. Where two eigenvalues count as 0, K is 0.

XLA stops its Jacobi rotations when the entries off the diagonal are 1e-6 of the matrix, in float64
too. The eigenvectors are therefore refined, which squares their error (Ogita, Aishima, 2018).
"""

import numpy as np
import tensorflow as tf

from ._tensors import constant, shape

ORDERS = 3
"""Number of orders of derivatives that are exact."""

REFINEMENTS = 2
NEAR = 1000.0
"""Two eigenvalues are treated as equal if their gap is below this multiple of the error."""


def spectral_root(a: tf.Tensor, tol: float | None) -> tf.Tensor:
    """``U diag(√λ) Uᵀ`` of symmetric matrices."""
    u, roots, k = decompose(tf.stop_gradient(a), tol)
    h = spectral_steps(tf.matmul(tf.matmul(u, a, transpose_a=True), u), roots, k)
    return tf.matmul(tf.matmul(u, h), u, transpose_b=True)


def spectral_steps(b: tf.Tensor, roots: tf.Tensor, k: tf.Tensor) -> tf.Tensor:
    """H after all steps."""
    h = tf.linalg.diag(roots)
    h += k * (b - tf.linalg.diag(roots * roots))
    for _ in range(ORDERS - 1):
        h = h + k * (b - tf.matmul(h, h))
    return h


def decompose(a: tf.Tensor, tol: float | None) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Eigenvectors, roots of the eigenvalues, and K."""
    nothing = constant(0, a)
    finite = tf.reduce_all(tf.math.is_finite(a), [1, 2], keepdims=True)
    sane = tf.where(finite, a, nothing)  # eigh raises an error for others
    values, u = tf.linalg.eigh(sane)
    for _ in range(REFINEMENTS):
        values, u = _refine(sane, u)
    values = tf.where(finite[:, :, 0], values, constant(float("nan"), a))
    if tol is None:
        share = tf.cast(shape(a)[-1], a.dtype) * constant(roundoff(a), a)
    else:
        share = constant(tol, a)
    largest = tf.reduce_max(values, 1, keepdims=True)
    zero = values <= share * tf.maximum(largest, nothing)  # NaN is not <= anything: it stays
    one = constant(1, a)
    roots = tf.where(zero, nothing, tf.sqrt(tf.where(zero, one, values)))
    both = tf.logical_and(zero[:, :, None], zero[:, None, :])
    sums = roots[:, :, None] + roots[:, None, :]
    return u, roots, tf.where(both, nothing, one / tf.where(both, one, sums))


def _refine(a: tf.Tensor, u: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Eigenvalues, and orthonormal eigenvectors whose error is the square of the error before."""
    s = tf.matmul(u, tf.matmul(a, u), transpose_a=True)
    values = tf.linalg.diag_part(s)
    off = tf.abs(s - tf.linalg.diag(values))
    channels = tf.cast(shape(a)[-1], a.dtype)
    noise = channels * constant(roundoff(a), a) * tf.norm(a, axis=[1, 2], keepdims=True)
    gap = values[:, None, :] - values[:, :, None]
    near = tf.abs(gap) <= constant(NEAR, a) * channels * off
    still = tf.logical_or(near, off <= noise)
    u += tf.matmul(u, tf.where(still, constant(0, a), s / tf.where(still, constant(1, a), gap)))
    lost = tf.eye(shape(a)[-1], dtype=a.dtype) - tf.matmul(u, u, transpose_a=True)
    return values, u + tf.matmul(
        u, constant(0.5, a) * lost + constant(0.375, a) * tf.matmul(lost, lost)
    )


def roundoff(a: tf.Tensor) -> float:
    """The unit roundoff of the dtype of `a`."""
    return float(np.finfo(a.dtype.name).eps) / 2
