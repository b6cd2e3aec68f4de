"""The matrix root by eigenvectors, whose derivatives are finite for equal eigenvalues and zeros.

Derivatives of eigenvectors divide by differences of eigenvalues, so eigenvectors U and eigenvalues
λ are constants here. For B = Uᵀ a U and K_ij = 1 / (√λi + √λj), a step

    H ← H + K ∘ (B − H H − the value of B − H H)

adds 0 to the value H = diag(√λ) and makes its derivatives exact to one order more: if H has an
error E of order n in a change of B, H H has the error ``diag(√λ) E + E diag(√λ)`` plus terms of
order n + 1, and K removes the former. Where two eigenvalues count as 0, K is 0.
"""

import jax
import jax.numpy as jnp

from ._arrays import matmul

ORDERS = 3
"""Number of orders of derivatives that are exact."""


def matrix_sqrt_eigen(a: jax.Array, tol: float | None) -> jax.Array:
    """``U diag(√λ) Uᵀ`` of symmetric matrices."""
    u, roots, k = decompose(jax.lax.stop_gradient(a), tol)
    h = spectral_steps(matmul(matmul(u.mT, a), u), roots, k)
    return matmul(matmul(u, h), u.mT)


def spectral_steps(b: jax.Array, roots: jax.Array, k: jax.Array) -> jax.Array:
    """H after all steps."""
    h = diagonal(roots) + k * (b - jax.lax.stop_gradient(b))  # the first step: H H is constant
    for _ in range(ORDERS - 1):
        change = b - matmul(h, h)
        h = h + k * (change - jax.lax.stop_gradient(change))
    return h


def diagonal(values: jax.Array) -> jax.Array:
    """Diagonal matrices (N, C, C) of the rows of `values`."""
    return values[:, :, None] * jnp.eye(values.shape[-1], dtype=values.dtype)[None]


def decompose(a: jax.Array, tol: float | None) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Eigenvectors, roots of the eigenvalues, and K."""
    finite = jnp.isfinite(a).all(axis=(1, 2), keepdims=True)  # eigh may not end for others
    values, u = jnp.linalg.eigh(jnp.where(finite, a, 0.0))
    values = jnp.where(finite[:, :, 0], values, jnp.nan)
    share = a.shape[-1] * float(jnp.finfo(a.dtype).eps) / 2 if tol is None else float(tol)
    zero = values <= share * jnp.maximum(values.max(axis=1, keepdims=True), 0.0)  # NaN is not
    roots = jnp.where(zero, 0.0, jnp.sqrt(jnp.where(zero, 1.0, values)))
    both = zero[:, :, None] & zero[:, None, :]
    sums = roots[:, :, None] + roots[:, None, :]
    return u, roots, jnp.where(both, 0.0, 1 / jnp.where(both, 1.0, sums))
