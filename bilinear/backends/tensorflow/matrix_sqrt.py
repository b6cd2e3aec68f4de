"""The square root of symmetric positive semidefinite matrices."""

from typing import Any

import tensorflow as tf

from ...contract.arrays import LAYOUT_REMEDY
from ...contract.matrices import SQUARE, SQUARE_REMEDY, STEPS, Method, Normalize, check_matrix_sqrt
from ._spectral import spectral_root
from ._tensors import (
    constant,
    ensure,
    set_rank,
    shape,
    sizes,
    spec,
    to_tensor,
    upcast,
    without_autograph,
)


@without_autograph
def matrix_sqrt(
    a: Any,
    *,
    method: Method = "newton_schulz",
    steps: int = STEPS,
    normalize: Normalize = "trace",
    tol: float | None = None,
) -> tf.Tensor:
    """Square root of symmetric positive semidefinite matrices.

    Specification: `bilinear.reference.matrix_sqrt`. Cost: time O(N·C³), times 3·steps, or about 20
    for "eigen". The gradient needs memory for 4·steps, or about 12, matrices per sample.

    Args:
        a: (N, C, C); its symmetric part is used.
        method: "newton_schulz" iterates, "eigen" decomposes.
        steps: number of Newton-Schulz steps, from 1 to 1000; not used by "eigen".
        normalize: scale of the iteration, "trace" or "frobenius"; not used by "eigen".
        tol: eigenvalues up to this fraction of the largest count as 0, at least 0 and below 1;
            None is C times the unit roundoff. Not used by "newton_schulz".

    Returns: (N, C, C) in the dtype of a.
    Gradient: Derivatives of "eigen" up to the third order are exact.
    """
    a = to_tensor("matrix_sqrt", "a", a)
    check_matrix_sqrt(spec(a), method, steps, normalize, tol)
    a = _ensure_square(a)
    return tf.cast(matrix_sqrt_unchecked(upcast(a), method, steps, normalize, tol), a.dtype)


def matrix_sqrt_unchecked(a, method, steps, normalize, tol) -> tf.Tensor:
    a = (a + tf.linalg.matrix_transpose(a)) * constant(0.5, a)
    if method == "eigen":
        return spectral_root(a, tol)
    s, dead = scale(a, normalize)
    nothing = constant(0, a)  # an iteration that `where` drops must not overflow: 0 · inf is NaN
    sane = tf.where(dead, nothing, a) / s
    y, _, t = newton_schulz(sane, steps)
    return tf.where(dead, nothing * a, tf.sqrt(s) * tf.matmul(y, t))


def newton_schulz(y: tf.Tensor, steps: int) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Y, Z and T of the last step, which ends with ``Y T`` and ``T Z``."""
    identity = tf.eye(sizes(y)[-1], dtype=y.dtype)
    half = constant(0.5, y)
    z, t = identity, constant(1.5, y) * identity - half * y
    for step in range(1, steps):
        y, z = tf.matmul(y, t), tf.matmul(t, z) if step > 1 else t
        t = constant(1.5, y) * identity - half * tf.matmul(z, y)
    return y, z, t


def scale(a: tf.Tensor, normalize: Normalize) -> tuple[tf.Tensor, tf.Tensor]:
    """Divisor of each matrix, 1 where it is not positive, and where that is."""
    if normalize == "trace":
        channel = tf.range(sizes(a)[-1])  # LiteRT lacks the operation of tf.linalg.trace
        terms = tf.where(channel[:, None] == channel, a, constant(0, a))
    else:
        terms = a * a
    square = tf.reduce_sum(terms, [1, 2], keepdims=True)
    dead = tf.stop_gradient(square) <= constant(0, a)
    s = tf.where(dead, constant(1, a), square)  # first, so that no derivative is infinite
    return (s if normalize == "trace" else tf.sqrt(s)), dead


def _ensure_square(a: tf.Tensor) -> tf.Tensor:
    """`a` with rank 3, after a run-time check of the sizes that were unknown."""
    op = "matrix_sqrt"
    if a.shape.rank is None:
        right = tf.equal(tf.size(shape(a)), 3)
        a = ensure(op, a, [(right, "a must be (N, C, C)", LAYOUT_REMEDY, [a])])
    if not a.shape[1:].is_fully_defined():
        at_run_time = shape(a)[-2:]
        square = tf.logical_and(at_run_time[0] > 0, tf.equal(at_run_time[0], at_run_time[-1]))
        a = ensure(op, a, [(square, SQUARE, SQUARE_REMEDY, [a])])
    with tf.control_dependencies([a]):  # the rank may be used only after this check
        return set_rank(a, 3)
