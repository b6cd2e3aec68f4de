"""The square root of the pooled covariance of location features."""

from typing import Any

import tensorflow as tf

from ...contract import Reduction
from ...contract.matrices import STEPS, Method, Normalize, check_covariance_sqrt
from ..gram_side import use_gram_matrix
from ._spectral import decompose, roundoff, spectral_steps
from ._tensors import constant, operands, sizes, upcast, without_autograph
from .covariance_pool import center_locations
from .matrix_sqrt import matrix_sqrt_unchecked, newton_schulz, scale
from .outer_pool import count_locations, select_locations


@without_autograph
def covariance_sqrt(
    x: Any,
    *,
    mask: Any = None,
    center: bool = True,
    reduction: Reduction = "mean",
    method: Method = "newton_schulz",
    steps: int = STEPS,
    normalize: Normalize = "trace",
    tol: float | None = None,
) -> tf.Tensor:
    """Matrix root of the covariance of the features over all locations.

    Specification: `bilinear.reference.covariance_sqrt`. If L < C, the root is computed from the
    L × L Gram matrix: for "newton_schulz" if this takes fewer multiplications (at 5 steps up to
    L = 0.94·C), for "eigen" always. If L or C is unknown while a function is traced, it is
    computed from the covariance.

    Cost: with S = min(L, C), time O(N·(L·C² + 3·steps·S³)), or 20·S³ for "eigen". The
    gradient needs memory for 3·steps + 1, or about 11, matrices S × S per sample, and for two
    copies of the features, or about 10 for "eigen".

    Args:
        x: (N, L, C) features.
        mask: (N, L) boolean, True at the valid locations; None means that all are valid.
        center: whether the mean is subtracted; False is the root of `outer_pool`.
        reduction: "mean" divides by the number of valid locations, "sum" does not.
        method: "newton_schulz" iterates, "eigen" decomposes.
        steps: number of Newton-Schulz steps, from 1 to 1000; not used by "eigen".
        normalize: scale of the iteration, "trace" or "frobenius"; not used by "eigen".
        tol: eigenvalues up to this fraction of the largest count as 0, at least 0 and below 1;
            None is C times the unit roundoff. Not used by "newton_schulz".

    Returns: (N, C, C) in the dtype of x.
    Gradient: Derivatives of "eigen" up to the third order are exact at full rank; for L < C, also
        at the highest rank that the number of locations allows.
    """
    options = center, reduction, method, steps, normalize, tol
    x, _, mask = operands("covariance_sqrt", x, None, mask, _check, *options)
    return tf.cast(covariance_sqrt_unchecked(x, mask, *options), x.dtype)


def _check(x: Any, y: None, mask: Any, *options: object) -> None:
    check_covariance_sqrt(x, mask, *options)


def covariance_sqrt_unchecked(
    x, mask, center, reduction, method, steps, normalize, tol
) -> tf.Tensor:
    x = upcast(x)
    z = tf.expand_dims(count_locations(x, mask, "mean"), -1)
    x = center_locations(x, mask, z) if center else select_locations(x, mask)
    z = constant(1, x) if reduction == "sum" else z
    if not use_gram_matrix(x.shape[1], x.shape[2], method, steps):
        a = tf.matmul(x, x, transpose_a=True) / z
        return matrix_sqrt_unchecked(a, method, steps, normalize, tol)
    if method == "eigen":
        return _spectral_root(x, z, tol)
    g, nothing = tf.matmul(x, x, transpose_b=True), constant(0, x)
    s, dead = scale(g, normalize)
    _, inverse, t = newton_schulz(tf.where(dead, nothing, g) / s, steps)
    inverse = tf.matmul(t, inverse) if steps > 1 else t
    weights = tf.where(dead, nothing, inverse / tf.sqrt(s * z))
    return tf.matmul(x, tf.matmul(weights, x), transpose_a=True)


def _spectral_root(x: tf.Tensor, z: tf.Tensor, tol: float | None) -> tf.Tensor:
    """The root of ``xᵀ x``, divided by √z.

    With eigenvectors U of the Gram matrix and ``F = Uᵀ x``, it is ``F1ᵀ (F1 F1ᵀ)^(-1/2) F1``, where
    F1 has the rows of F whose eigenvalues do not count as 0. With ``H = (F1 F1ᵀ)^(1/2)`` and
    ``V = H^(-1) F1``, it is ``Vᵀ N + Nᵀ V`` for ``N = F1 − H V / 2``, of which all derivatives to
    the third are exact if the first of V is. The other rows, F2, add ``Λ^(-1/2) (V dF2ᵀ) F2`` to
    the first derivative of V. U, F2 and the eigenvalues Λ are constants, as in `spectral_root`.
    """
    if tol is None:
        tol = sizes(x)[2] * roundoff(x)
    nothing = constant(0, x)
    u, roots, k = decompose(tf.stop_gradient(tf.matmul(x, x, transpose_b=True)), tol)
    zero, one = tf.equal(roots, nothing)[:, :, None], constant(1, x)
    inverse = tf.where(zero, nothing, one / tf.where(zero, one, roots[:, :, None]))
    f = tf.matmul(u, x, transpose_a=True)
    still = tf.where(zero, tf.stop_gradient(f), f)  # the rows of F2 are constants
    b = tf.matmul(still, f, transpose_b=True)
    pair = tf.logical_or(zero, tf.linalg.matrix_transpose(zero))
    h = spectral_steps(tf.where(pair, nothing, b), roots, k)
    p = tf.linalg.diag(tf.where(zero, one, constant(2, x) * inverse)[:, :, 0])
    v = tf.matmul(p - inverse * h * tf.linalg.matrix_transpose(inverse), still)
    of_second = tf.where(pair, b - tf.linalg.matrix_transpose(b), nothing)  # F1 dF2ᵀ
    weights = constant(0.5, x) * h - inverse * inverse * of_second
    n = tf.where(zero, nothing, f) - tf.matmul(weights, v)
    m = tf.matmul(v, n / tf.sqrt(z), transpose_a=True)
    return m + tf.linalg.matrix_transpose(m)
