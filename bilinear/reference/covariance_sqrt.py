"""The square root of the pooled covariance of location features."""

import numpy as np

from ..contract import Reduction
from ..contract.matrices import STEPS, Method, Normalize, check_covariance_sqrt
from ._arrays import Array, round_to, spec, upcast
from .covariance_pool import _center
from .matrix_sqrt import _matrix_sqrt, _matrix_sqrt_vjp
from .outer_pool import _divisor, _select


def covariance_sqrt(
    x: Array,
    *,
    mask: Array | None = None,
    center: bool = True,
    reduction: Reduction = "mean",
    method: Method = "newton_schulz",
    steps: int = STEPS,
    normalize: Normalize = "trace",
    tol: float | None = None,
) -> Array:
    """The matrix square root of the covariance of the features over all locations.

    ``R = matrix_sqrt(A)`` with ``A[n] = (1/Z) Σ_l (x[n,l] − μ) (x[n,l] − μ)ᵀ`` over the valid
    locations, where Z is their number for ``"mean"`` and 1 for ``"sum"``, and μ is their mean, or
    0 if `center` is False. `method`, `steps`, `normalize` and `tol` are those of `matrix_sqrt`.

    R is specified on the C × C matrix ``A = Bᵀ B``, where B (L, C) has the rows
    ``(x[l] − μ) / √Z``. The L × L Gram matrix ``G = B Bᵀ`` has the same eigenvalues, except for
    zeros, and thus the same trace and Frobenius norm. Both methods give ``R = Bᵀ q(G) B``: for
    ``"newton_schulz"``, q(λ) is ``√s·p(λ/s) / λ``, a polynomial because p(0) = 0; for
    ``"eigen"``, it is 1/√λ, or 0 if λ counts as 0. A backend may use this form, which takes less
    time if L < C.

    Args:
        x: features, (N, L, C).
        mask: boolean, (N, L), True at valid locations; None is all. Default None.
        center: whether the mean is subtracted. False is the root of ``outer_pool(x)``. Default
            True.
        reduction: ``"mean"`` divides by the number of valid locations, ``"sum"`` does not.
            Default ``"mean"``.
        method: ``"newton_schulz"`` iterates, ``"eigen"`` is exact. Default ``"newton_schulz"``.
        steps: number of Newton–Schulz steps, from 1 to 1000. Default 5.
        normalize: norm that the iteration divides by, ``"trace"`` or ``"frobenius"``. Default
            ``"trace"``.
        tol: eigenvalues up to this fraction of the largest count as 0, at least 0 and below 1;
            None is C times the unit roundoff. Default None.

    Returns:
        Roots (N, C, C) in the dtype of x. Half-precision features are pooled and rooted in
        float32; A is not rounded.

    Shape:
        x (N, L, C), mask (N, L) boolean, True at valid locations -> (N, C, C).

    Gradient:
        ``∂x[l] = 2 X (x[l] − μ) / Z``, where X is the gradient of `matrix_sqrt` at A, which is
        symmetric. Its conventions apply: the gradient is finite for equal and for zero eigenvalues,
        which are always present if L < C.
        A location where the mask is False contributes nothing, even if it is NaN, and its gradient
        is 0. A sample with A = 0 (no valid location, or with `center` only one) has root exactly 0
        and gradient 0. The mask has no gradient.

    Raises:
        ValueError for L = 0, C = 0 or shapes that do not fit (N = 0 is allowed), another reduction,
        and the arguments that `matrix_sqrt` refuses; TypeError for integer or complex features, a
        mask or `center` that is not boolean.

    Example:
        >>> covariance_sqrt(np.array([[[3.0, 0.0], [-3.0, 0.0]]]), method="eigen")
        array([[[3., 0.],
                [0., 0.]]])

    References:
        Li, Xie, Wang, Zuo, "Is Second-Order Information Helpful for Large-Scale Visual
        Recognition?", ICCV 2017 (``"eigen"``); Li, Xie, Wang, Gao, "Towards Faster Training of
        Global Covariance Pooling Networks by Iterative Matrix Square Root Normalization", CVPR
        2018 (``"newton_schulz"``). Functions of ``B Bᵀ`` and ``Bᵀ B``: Higham, Functions of
        Matrices, SIAM 2008, corollary 1.34.
    """
    check_covariance_sqrt(spec(x), spec(mask), center, reduction, method, steps, normalize, tol)
    return round_to(
        _covariance_sqrt(upcast(x), mask, center, reduction, method, steps, normalize, tol), x
    )


def covariance_sqrt_vjp(
    cotangent: Array,
    x: Array,
    *,
    mask: Array | None = None,
    center: bool = True,
    reduction: Reduction = "mean",
    method: Method = "newton_schulz",
    steps: int = STEPS,
    normalize: Normalize = "trace",
    tol: float | None = None,
) -> tuple[Array]:
    """Gradient of ``⟨cotangent, covariance_sqrt(x)⟩`` with respect to x."""
    check_covariance_sqrt(spec(x), spec(mask), center, reduction, method, steps, normalize, tol)
    options = mask, center, reduction, method, steps, normalize, tol
    return (round_to(_covariance_sqrt_vjp(upcast(cotangent), upcast(x), *options), x),)


def _covariance_sqrt(x, mask, center, reduction, method, steps, normalize, tol):
    deviations, z = _deviations(x, mask, center, reduction)
    return _matrix_sqrt(_second_moment(deviations, z), method, steps, normalize, tol)


def _covariance_sqrt_vjp(ct, x, mask, center, reduction, method, steps, normalize, tol):
    deviations, z = _deviations(x, mask, center, reduction)
    a = _second_moment(deviations, z)
    da = _matrix_sqrt_vjp(ct, a, method, steps, normalize, tol)
    return _select(2 * np.einsum("ncd,nld->nlc", da, deviations) / z, mask)


def _deviations(x, mask, center, reduction):
    """The deviations from the mean, 0 at invalid locations, and the divisor Z."""
    return _center(x, mask) if center else _select(x, mask), _divisor(x, mask, reduction)


def _second_moment(deviations, z):
    return np.einsum("nlc,nld->ncd", deviations, deviations) / z
