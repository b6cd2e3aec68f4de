"""The square root of symmetric positive semidefinite matrices."""

import jax
import jax.numpy as jnp

from ...contract.matrices import STEPS, Method, Normalize, check_matrix_sqrt
from ._arrays import ArrayLike, matmul, spec, wide
from ._spectral import spectral_root


def matrix_sqrt(
    a: ArrayLike,
    *,
    method: Method = "newton_schulz",
    steps: int = STEPS,
    normalize: Normalize = "trace",
    tol: float | None = None,
) -> jax.Array:
    """The root R of a symmetric positive semidefinite matrix: ``R R = a``, exactly or nearly.

    Of `a` the symmetric part S = (a + aᵀ)/2 is taken.

    ``"newton_schulz"``: from Y = S/s and Z = I, `steps` times ``T = (3I − Z Y)/2``, ``Y ← Y T``,
    ``Z ← T Z``; then √s·Y. s is the trace or the Frobenius norm.

    ``"eigen"``: ``U diag(√λ) Uᵀ``; eigenvalues of at most `tol` times the largest count as 0,
    and `tol` None is C times the unit roundoff. `steps` and `normalize` are not read, nor is
    `tol` by the other method.

    Shapes: a (N, C, C) -> the same.
    Gradient: of ``"newton_schulz"`` that of the iteration as it is, s included. Of ``"eigen"`` the
        solution X of ``R X + X R = (Γ + Γᵀ)/2``, 0 between eigenvalues that count as 0; its
        derivatives are exact to the third order. Always symmetric.
    Edges: the zero matrix has root 0 and gradient 0, and so has any matrix of a trace (of
        ``"eigen"``: a largest eigenvalue) that is not positive. A NaN makes its matrix NaN, at
        least from the second step on. Half types are computed in float32.
    Cost: time N·C³, times 3·steps or some 20 for the eigenvectors; the gradient holds 4·steps or
        some 12 matrices a sample. Output N·C².
    Raises: ValueError and TypeError as `bilinear.contract.matrices.check_matrix_sqrt`.
    Source: Li, Xie, Wang, Gao, CVPR 2018, section 3 (trace); Lin, Maji, BMVC 2017 (Frobenius
        norm); Li, Xie, Wang, Zuo, ICCV 2017 (``"eigen"``).
    """
    check_matrix_sqrt(spec("matrix_sqrt", "a", a), method, steps, normalize, tol)
    a = jnp.asarray(a)
    return matrix_rooted(wide(a), method, steps, normalize, tol).astype(a.dtype)


def matrix_rooted(
    a: jax.Array, method: Method, steps: int, normalize: Normalize, tol: float | None
) -> jax.Array:
    """The unchecked formula."""
    a = (a + a.mT) / 2
    if method == "eigen":
        return spectral_root(a, tol)
    s, dead = _scale(a, normalize)
    sane = jnp.where(dead, 0.0, a) / s  # a dropped iteration must not overflow: 0 · inf is NaN
    return jnp.where(dead, 0.0 * a, jnp.sqrt(s) * _iterated(sane, steps))


def _iterated(y: jax.Array, steps: int) -> jax.Array:
    """`steps` Newton–Schulz steps; products with the first Z = I and for the last Z are spared."""
    identity = jnp.eye(y.shape[-1], dtype=y.dtype)[None]
    t = 1.5 * identity - 0.5 * y
    y, z = matmul(y, t), t
    for step in range(1, steps):
        t = 1.5 * identity - 0.5 * matmul(z, y)
        y, z = matmul(y, t), matmul(t, z) if step + 1 < steps else z
    return y


def _scale(a: jax.Array, normalize: Normalize) -> tuple[jax.Array, jax.Array]:
    """What the matrices are divided by, and where that cannot be; there it is 1.

    `where` stands before the root, so that no derivative of it is infinite.
    """
    if normalize == "trace":
        s = jnp.trace(a, axis1=1, axis2=2)[:, None, None]
        dead = s <= 0
        return jnp.where(dead, 1.0, s), dead
    square = jnp.sum(a * a, axis=(1, 2), keepdims=True)
    dead = square <= 0
    return jnp.sqrt(jnp.where(dead, 1.0, square)), dead
