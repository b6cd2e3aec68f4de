"""The square root of the pooled covariance of location features."""

import torch
from torch import Tensor

from ...contract import Reduction
from ...contract.matrices import STEPS, Method, Normalize, check_covariance_sqrt
from ..gram_side import use_gram_matrix
from ._fx import leaf
from ._tensors import matmul, spec, upcast
from .covariance_pool import center_locations
from .matrix_sqrt import eigen, matrix_sqrt_unchecked, newton_schulz, scale, spectral_steps
from .outer_pool import count_locations, divide_by_count, select_locations


@leaf
def covariance_sqrt(
    x: Tensor,
    *,
    mask: Tensor | None = None,
    center: bool = True,
    reduction: Reduction = "mean",
    method: Method = "newton_schulz",
    steps: int = STEPS,
    normalize: Normalize = "trace",
    tol: float | None = None,
) -> Tensor:
    """Matrix square root of the covariance of the features over all locations.

    `bilinear.reference.covariance_sqrt` specifies the values, gradients and errors. If L < C, the
    root is computed from the L × L Gram matrix: for ``"newton_schulz"`` if this takes fewer
    multiplications (at 5 steps up to L = 0.94·C), for ``"eigen"`` always.

    Args:
        x: features, (N, L, C).
        mask: boolean, (N, L), True at valid locations; None is all. Default None.
        center: whether the mean is subtracted; False is the root of `outer_pool`. Default True.
        reduction: ``"mean"`` or ``"sum"`` over the valid locations. Default ``"mean"``.
        method: ``"newton_schulz"`` iterates, ``"eigen"`` is exact. Default ``"newton_schulz"``.
        steps: number of Newton–Schulz steps, from 1 to 1000. Default 5.
        normalize: what the iteration divides by, ``"trace"`` (default) or ``"frobenius"``.
        tol: eigenvalues up to this fraction of the largest count as 0, at least 0 and below 1;
            None is C times the unit roundoff. Default None.

    Returns: Roots (N, C, C) in the dtype of x.
    Gradient: with ``"eigen"``, derivatives up to the third order are exact at full rank; for
        L < C, also at the highest rank that the number of locations allows.
    Cost: with S = min(L, C), time N·(L·C² + about 3·steps·S³), or 20·S³ for ``"eigen"``. The
        gradient needs memory for 3·steps + 1, or about 8, matrices S × S per sample, and for two
        copies of the features, or about 5 for ``"eigen"``.

    Example:
        >>> covariance_sqrt(torch.rand(2, 49, 64)).shape
        torch.Size([2, 64, 64])
    """
    op = "covariance_sqrt"
    masked = None if mask is None else spec(op, "mask", mask)
    root = method, steps, normalize, tol
    check_covariance_sqrt(spec(op, "x", x), masked, center, reduction, *root)
    return covariance_sqrt_unchecked(x, mask, center, reduction, *root).to(x.dtype)


def covariance_sqrt_unchecked(
    x: Tensor,
    mask: Tensor | None,
    center: bool,
    reduction: Reduction,
    method: Method,
    steps: int,
    normalize: Normalize,
    tol: float | None,
) -> Tensor:
    """The unchecked formula, in the accumulation dtype."""
    of_inputs = () if center else (x.dtype, x.dtype)  # of products of x with itself
    x, locations = upcast(x), x.shape[1]
    z = locations if mask is None else count_locations(mask, x.dtype)[:, None, None]
    x = center_locations(x, mask, z) if center else select_locations(x, mask)
    if not use_gram_matrix(x.shape[1], x.shape[2], method, steps):
        a = divide_by_count(matmul(x.transpose(-2, -1), x, *of_inputs), locations, mask, reduction)
        return matrix_sqrt_unchecked(a, method, steps, normalize, tol)
    size = 1.0 if reduction == "sum" else z**0.5  # √Z, by which the root of a sum is larger
    if method == "eigen":
        return _spectral_root(x, size, tol)
    g = matmul(x, x.transpose(-2, -1), *of_inputs)
    s, dead = scale(g, normalize)
    _, inverse, t = newton_schulz(torch.where(dead, 0.0, g) / s, steps)
    inverse = matmul(t, inverse) if steps > 1 else t
    weights = torch.where(dead, 0.0, inverse / (s.sqrt() * size))
    return matmul(x.transpose(-2, -1), matmul(weights, x))


def _spectral_root(x: Tensor, size: Tensor | float, tol: float | None) -> Tensor:
    """The root of ``xᵀ x``, divided by `size`.

    With eigenvectors U of the Gram matrix and ``F = Uᵀ x``, it is ``F1ᵀ (F1 F1ᵀ)^(-1/2) F1``, where
    F1 has the rows of F whose eigenvalues do not count as 0. With ``H = (F1 F1ᵀ)^(1/2)`` and
    ``V = H^(-1) F1``, it is ``Vᵀ N + Nᵀ V`` for ``N = F1 − H V / 2``, of which all derivatives to
    the third are exact if the first of V is. The other rows, F2, add ``Λ^(-1/2) (V dF2ᵀ) F2`` to
    the first derivative of V. U, F2 and the eigenvalues Λ are constants, as in `matrix_sqrt`.
    """
    if tol is None:
        tol = x.shape[-1] * torch.finfo(x.dtype).eps / 2
    u, roots, k = eigen(matmul(x, x.transpose(-2, -1)).detach(), tol)
    zero = (roots == 0)[..., None]
    inverse = torch.where(zero, 0.0, 1 / torch.where(zero, 1.0, roots[..., None]))
    f = matmul(u.transpose(-2, -1), x)
    still = torch.where(zero, f.detach(), f)  # the rows of F2 are constants
    b, pair = matmul(still, f.transpose(-2, -1)), zero | zero.transpose(-2, -1)
    h = spectral_steps(torch.where(pair, 0.0, b), roots, k)
    p = torch.diag_embed(torch.where(zero, 1.0, 2 * inverse)[..., 0])
    v = matmul(p - inverse * h * inverse.transpose(-2, -1), still)
    of_second = torch.where(pair, b - b.transpose(-2, -1), 0.0)  # F1 dF2ᵀ
    n = torch.where(zero, 0.0, f) - matmul(0.5 * h - inverse**2 * of_second, v)
    m = matmul(v.transpose(-2, -1), n / size)
    return m + m.transpose(-2, -1)
