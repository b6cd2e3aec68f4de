"""The square root of the pooled covariance of location features."""

import jax
import jax.numpy as jnp

from ...contract import Reduction
from ...contract.matrices import STEPS, Method, Normalize, check_covariance_sqrt
from ..gram_side import use_gram_matrix
from ._arrays import (
    ArrayLike,
    count_locations,
    einsum,
    matmul,
    round_to,
    select_locations,
    specs,
    upcast,
)
from ._products import einsum_of_inputs, einsum_with_input
from ._spectral import decompose, diagonal, spectral_steps
from .covariance_pool import center_locations
from .matrix_sqrt import matrix_sqrt_unchecked, newton_schulz, scale


def covariance_sqrt(
    x: ArrayLike,
    *,
    mask: ArrayLike | None = None,
    center: bool = True,
    reduction: Reduction = "mean",
    method: Method = "newton_schulz",
    steps: int = STEPS,
    normalize: Normalize = "trace",
    tol: float | None = None,
) -> jax.Array:
    """Compute the matrix root of the covariance of the features over all locations.

    If L < C, the root is computed from the L × L Gram matrix: for ``"newton_schulz"`` if this takes
    fewer multiplications (at 5 steps up to L = 0.94·C), for ``"eigen"`` always. If L or C is
    symbolic, it is computed from the covariance.

    Args:
        x: features (N, L, C).
        mask: boolean (N, L); only locations where it is True are pooled. None pools all.
        center: subtract the mean; False gives the root of `outer_pool`.
        reduction: ``"mean"`` divides by the number of pooled locations, ``"sum"`` does not.
        method: ``"newton_schulz"`` iterates; ``"eigen"`` is exact, by eigenvectors.
        steps: of the iteration, from 1 to 1000; not used by ``"eigen"``.
        normalize: ``"trace"`` or ``"frobenius"``, which the iteration divides by.
        tol: for ``"eigen"``, eigenvalues up to this fraction of the largest count as 0;
            None means C times the unit roundoff.

    Returns: Array (N, C, C).
    Cost: with S = min(L, C), time N·(L·C² + about 3·steps·S³), or 20·S³ for ``"eigen"``. The
        gradient needs memory for 3·steps + 1, or about 11, matrices S × S per sample, and for two
        copies of the features, or about 10 for ``"eigen"``.
    Gradient: derivatives of ``"eigen"`` up to the third order are exact at full rank; for L < C,
        also at the highest rank that the number of locations allows.
    Specification: `bilinear.reference.covariance_sqrt`.
    """
    of_x, _, of_mask = specs("covariance_sqrt", x, None, mask)
    options = center, reduction, method, steps, normalize, tol
    check_covariance_sqrt(of_x, of_mask, *options)
    return round_to(x, covariance_sqrt_unchecked(x, mask, *options))


def covariance_sqrt_unchecked(
    x, mask, center, reduction, method, steps, normalize, tol
) -> jax.Array:
    z = count_locations(upcast(x), mask)[:, :, None]
    dtype = z.dtype if center else x.dtype  # without centering, products are of inputs
    x = center_locations(x, mask, z) if center else select_locations(x, mask)
    z = jnp.ones_like(z) if reduction == "sum" else z
    if not use_gram_matrix(x.shape[1], x.shape[2], method, steps):
        a = einsum_of_inputs("nlc,nld->ncd", x, x, dtype) / z
        return matrix_sqrt_unchecked(a, method, steps, normalize, tol)
    if method == "eigen":
        return _spectral_root(x, z, tol)
    g = einsum_of_inputs("nlc,nmc->nlm", x, x, dtype)
    s, zero = scale(g, normalize)
    _, inverse, t = newton_schulz(jnp.where(zero, 0.0, g) / s, steps)
    inverse = matmul(t, inverse) if steps > 1 else t
    weights = jnp.where(zero, 0.0, inverse / jnp.sqrt(s * z))
    weighted = einsum_with_input("nlm,nmc->nlc", weights, x, dtype)
    return einsum_with_input("nld,nlc->ncd", weighted, x, dtype)


def _spectral_root(x: jax.Array, z: jax.Array, tol: float | None) -> jax.Array:
    """The root of ``xᵀ x``, divided by √z.

    With eigenvectors U of the Gram matrix and ``F = Uᵀ x``, it is ``F1ᵀ (F1 F1ᵀ)^(-1/2) F1``, where
    F1 has the rows of F whose eigenvalues do not count as 0. With ``H = (F1 F1ᵀ)^(1/2)`` and
    ``V = H^(-1) F1``, it is ``Vᵀ N + Nᵀ V`` for ``N = F1 − H V / 2``, of which all derivatives to
    the third are exact if the first of V is. The other rows, F2, add ``Λ^(-1/2) (V dF2ᵀ) F2`` to
    the first derivative of V. U, F2 and the eigenvalues Λ are constants, as in `matrix_sqrt_eigen`.
    """
    if tol is None:
        tol = x.shape[-1] * float(jnp.finfo(x.dtype).eps) / 2
    still = jax.lax.stop_gradient(x)
    u, roots, k = decompose(einsum("nlc,nmc->nlm", still, still), tol)
    zero = (roots == 0)[:, :, None]
    inverse = jnp.where(zero, 0.0, 1 / jnp.where(zero, 1.0, roots[:, :, None]))
    f = einsum("nlm,nlc->nmc", u, x)
    still = jnp.where(zero, jax.lax.stop_gradient(f), f)  # the rows of F2 are constants
    b, pair = einsum("nlc,nmc->nlm", still, f), zero | zero.mT
    h = spectral_steps(jnp.where(pair, 0.0, b), roots, k)
    p = diagonal(jnp.where(zero, 1.0, 2 * inverse)[:, :, 0])
    v = matmul(p - inverse * h * inverse.mT, still)
    of_second = jnp.where(pair, b - b.mT, 0.0)  # F1 dF2ᵀ
    n = jnp.where(zero, 0.0, f) - matmul(0.5 * h - inverse**2 * of_second, v)
    m = einsum("nlc,nld->ncd", v, n / jnp.sqrt(z))
    return m + m.mT
