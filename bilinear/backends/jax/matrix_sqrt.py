"""The square root of symmetric positive semidefinite matrices."""

import jax
import jax.numpy as jnp

from ...contract.matrices import STEPS, Method, Normalize, check_matrix_sqrt
from ._arrays import ArrayLike, matmul, round_to, spec, upcast
from ._spectral import matrix_sqrt_eigen


def matrix_sqrt(
    a: ArrayLike,
    *,
    method: Method = "newton_schulz",
    steps: int = STEPS,
    normalize: Normalize = "trace",
    tol: float | None = None,
) -> jax.Array:
    """Compute the root R of symmetric positive semidefinite matrices: ``R R ≈ (a + aᵀ)/2``.

    Args:
        a: matrices (N, C, C).
        method: ``"newton_schulz"`` iterates; ``"eigen"`` is exact, by eigenvectors.
        steps: of the iteration, from 1 to 1000; not used by ``"eigen"``.
        normalize: ``"trace"`` or ``"frobenius"``, which the iteration divides by.
        tol: for ``"eigen"``, eigenvalues up to this fraction of the largest count as 0;
            None means C times the unit roundoff.

    Returns: Array (N, C, C).
    Cost: time N·C³, times 3·steps, or about 20 for ``"eigen"``. The gradient needs memory for
        4·steps, or about 12, matrices per sample.
    Gradient: derivatives of ``"eigen"`` up to the third order are exact.
    Specification: `bilinear.reference.matrix_sqrt`.
    """
    check_matrix_sqrt(spec("matrix_sqrt", "a", a), method, steps, normalize, tol)
    return round_to(a, matrix_sqrt_unchecked(upcast(a), method, steps, normalize, tol))


def matrix_sqrt_unchecked(a, method, steps, normalize, tol) -> jax.Array:
    a = (a + a.mT) / 2
    if method == "eigen":
        return matrix_sqrt_eigen(a, tol)
    s, zero = scale(a, normalize)
    sane = jnp.where(zero, 0.0, a) / s  # a dropped iteration must not overflow: 0 · inf is NaN
    y, _, t = newton_schulz(sane, steps)
    return jnp.where(zero, 0.0 * a, jnp.sqrt(s) * matmul(y, t))


def newton_schulz(y: jax.Array, steps: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Y, Z and T of the last step, which ends with ``Y T`` and ``T Z``."""
    identity = jnp.eye(y.shape[-1], dtype=y.dtype)[None]
    z, t = identity, 1.5 * identity - 0.5 * y
    for step in range(1, steps):
        y, z = matmul(y, t), matmul(t, z) if step > 1 else t
        t = 1.5 * identity - 0.5 * matmul(z, y)
    return y, z, t


def scale(a: jax.Array, normalize: Normalize) -> tuple[jax.Array, jax.Array]:
    """The trace or norm of each matrix, 1 where it is not positive, and where that is."""
    if normalize == "trace":
        s = jnp.trace(a, axis1=1, axis2=2)[:, None, None]
        zero = s <= 0
        return jnp.where(zero, 1.0, s), zero
    square = jnp.sum(a * a, axis=(1, 2), keepdims=True)
    zero = square <= 0
    return jnp.sqrt(jnp.where(zero, 1.0, square)), zero  # no derivative of it is infinite
