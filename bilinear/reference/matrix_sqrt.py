"""The square root of symmetric positive semidefinite matrices."""

import numpy as np

from ..contract.matrices import STEPS, Method, Normalize, check_matrix_sqrt
from ._arrays import Array, round_to, spec, upcast
from ._eigen import eigh


def matrix_sqrt(
    a: Array,
    *,
    method: Method = "newton_schulz",
    steps: int = STEPS,
    normalize: Normalize = "trace",
    tol: float | None = None,
) -> Array:
    """The exact or approximate root R of a symmetric positive semidefinite matrix: ``R R = a``.

    The symmetric part S = (a + aᵀ)/2 of `a` is used.

    ``"newton_schulz"``: start from Y = S/s and Z = I, and repeat `steps` times
    ``T = (3I − Z Y)/2``, ``Y ← Y T``, ``Z ← T Z``. The result is √s·Y. s is the trace or the
    Frobenius norm; the Frobenius norm is smaller, so it needs fewer steps. An eigenvalue λ of S
    becomes √s·p(λ/s) with a polynomial p. This is close to √λ only if λ/s is not small: with 5
    steps, the error is within 1% from about λ = s/50 on.

    ``"eigen"``: ``U diag(√λ) Uᵀ`` with eigenvectors U. Eigenvalues of at most `tol` times the
    largest count as 0; `tol` None is C times the unit roundoff. `steps` and `normalize` are not
    used, and ``"newton_schulz"`` does not use `tol`.

    Args:
        a: matrices (N, C, C); their symmetric part (a + aᵀ)/2 is used.
        method: ``"newton_schulz"`` iterates, ``"eigen"`` is exact. Default ``"newton_schulz"``.
        steps: number of Newton–Schulz steps, from 1 to 1000. Default 5.
        normalize: norm that the iteration divides by, ``"trace"`` or ``"frobenius"``. Default
            ``"trace"``.
        tol: eigenvalues up to this fraction of the largest count as 0, at least 0 and below 1;
            None is C times the unit roundoff. Default None.

    Returns:
        Roots (N, C, C) in the dtype of a.

    Shape:
        a (N, C, C) -> the same.

    Gradient:
        For ``"newton_schulz"``, the gradient of the iteration itself, including s, and not of the
        exact root. For ``"eigen"``, the solution X of ``R X + X R = (Γ + Γᵀ)/2``, which is ``U
        [(Uᵀ (Γ + Γᵀ)/2 U) ∘ K] Uᵀ`` with K_ij = 1 / (√λi + √λj), or K_ij = 0 if both eigenvalues
        count as 0. It is finite for equal eigenvalues and for zero eigenvalues. The gradient is
        always symmetric.
        The zero matrix has root 0 and gradient 0. So has any matrix whose trace (for ``"eigen"``:
        whose largest eigenvalue) is not positive. With ``"newton_schulz"``, a negative eigenvalue
        stays negative, and grows with many steps. A NaN makes its whole matrix NaN, at least from
        the second step on.

    Raises:
        ValueError for matrices that are not square, C = 0 (N = 0 is allowed), steps below 1, tol
        not in [0, 1), or another method or normalization; TypeError for integer or complex a.

    Example:
        >>> matrix_sqrt(4 * np.eye(2)[None], method="eigen")
        array([[[2., 0.],
                [0., 2.]]])

    References:
        ``"newton_schulz"``: Li, Xie, Wang, Gao, "Towards Faster Training of Global Covariance
        Pooling Networks by Iterative Matrix Square Root Normalization", CVPR 2018, section 3
        (trace), and Lin, Maji, "Improved Bilinear Pooling with CNNs", BMVC 2017 (Frobenius norm).
        ``"eigen"``: Li, Xie, Wang, Zuo, ICCV 2017, with the gradient of Lin and Maji, which
        does not divide by differences of eigenvalues.
    """
    check_matrix_sqrt(spec(a), method, steps, normalize, tol)
    return round_to(_matrix_sqrt(upcast(a), method, steps, normalize, tol), a)


def matrix_sqrt_vjp(
    cotangent: Array,
    a: Array,
    *,
    method: Method = "newton_schulz",
    steps: int = STEPS,
    normalize: Normalize = "trace",
    tol: float | None = None,
) -> tuple[Array]:
    """Gradient of ``⟨cotangent, matrix_sqrt(a)⟩`` with respect to a."""
    check_matrix_sqrt(spec(a), method, steps, normalize, tol)
    gradient = _matrix_sqrt_vjp(upcast(cotangent), upcast(a), method, steps, normalize, tol)
    return (round_to(gradient, a),)


def _matrix_sqrt(a, method, steps, normalize, tol):
    a = _symmetric(a)
    if method == "eigen":
        u, roots, _ = _decompose(a, tol)
        return u * roots[:, None, :] @ _t(u)
    s, dead = _scale(a, normalize)
    y, _, _ = _iterate(np.where(dead, 0, a) / s, steps)[-1]
    return np.where(dead, 0 * a, np.sqrt(s) * y)


def _matrix_sqrt_vjp(ct, a, method, steps, normalize, tol):
    a, ct = _symmetric(a), _symmetric(ct)
    if method == "eigen":
        u, _, k = _decompose(a, tol)
        return u @ ((_t(u) @ ct @ u) * k) @ _t(u)
    s, dead = _scale(a, normalize)
    *history, (root, _, _) = _iterate(np.where(dead, 0, a) / s, steps)
    dy, dz = np.sqrt(s) * ct, np.zeros_like(ct)
    for y, z, t in reversed(history):  # y' = y t, z' = t z, t = (3I − z y) / 2
        dzy = -(_t(y) @ dy + dz @ _t(z)) / 2
        dy, dz = dy @ _t(t) + _t(z) @ dzy, _t(t) @ dz + dzy @ _t(y)
    ds = _inner(ct, root) / (2 * np.sqrt(s)) - _inner(dy, a) / (s * s)
    if normalize == "trace":  # of the diagonal alone: a NaN stays there
        through_s = np.where(np.eye(a.shape[-1], dtype=bool), ds, 0)
    else:
        through_s = ds * a / s
    return np.where(dead, 0 * ct, _symmetric(dy / s + through_s))


def _iterate(y, steps):
    """(Y, Z, T) of each step, then the final (Y, Z, None)."""
    identity = np.broadcast_to(np.eye(y.shape[-1]), y.shape)
    z, history = identity.astype(y.dtype), []
    for _ in range(steps):
        t = (3 * identity - z @ y) / 2
        history.append((y, z, t))
        y, z = y @ t, t @ z
    return [*history, (y, z, None)]


def _scale(a, normalize):
    """The divisor of each matrix, and where it is not positive; there it is 1."""
    if normalize == "trace":
        square = np.einsum("nii->n", a)[:, None, None]
    else:
        square = np.sum(a * a, axis=(1, 2), keepdims=True)
    dead = square.real <= 0
    s = np.where(dead, 1, square)
    return (s if normalize == "trace" else np.sqrt(s)), dead


def _decompose(a, tol):
    """Eigenvectors, roots of the eigenvalues, and K."""
    values, u = eigh(a)
    if tol is None:
        tol = a.shape[-1] * np.finfo(a.dtype).eps / 2
    floor = tol * np.maximum(values.real.max(axis=1), 0)
    zero = values.real <= floor[:, None]  # NaN is not <= anything: it stays
    roots = np.where(zero, 0, np.sqrt(np.where(zero, 1, values)))
    sums = roots[:, :, None] + roots[:, None, :]
    both = zero[:, :, None] & zero[:, None, :]
    return u, roots, np.where(both, 0, 1 / np.where(both, 1, sums))


def _symmetric(a):
    return (a + _t(a)) / 2


def _inner(a, b):
    return np.sum(a * b, axis=(1, 2), keepdims=True)


def _t(a):
    return a.swapaxes(1, 2)
