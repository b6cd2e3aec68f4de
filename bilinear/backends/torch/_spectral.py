"""The matrix root by eigenvectors, whose derivatives are finite for equal eigenvalues and zeros.

Derivatives of eigenvectors divide by differences of eigenvalues, those of the root do not. So
eigenvectors U and eigenvalues λ are constants here. In their basis the root is H = diag(√λ), and
of the matrix B = Uᵀ a U that moves the derivative is ``K ∘ dB``, K_ij = 1 / (√λi + √λj). A step

    H ← H + K ∘ (B − H H − its value)

leaves the value as it is (what would be added is 0), and makes the derivatives of H those of the
root of B to one order more: with H off by terms of order n in a change of B, H H is off by
``diag(√λ) · off + off · diag(√λ)`` and terms of order n + 1, and K takes the former back. Where
two eigenvalues count as 0, K is 0.
"""

import torch
from torch import Tensor

from ._tensors import matmul

ORDERS = 3
"""How many orders of derivatives are exact."""


def spectral_root(a: Tensor, tol: float | None) -> Tensor:
    """``U diag(√λ) Uᵀ`` of symmetric matrices."""
    u, roots, k = _eigen(a.detach(), tol)
    b = matmul(matmul(u.mT, a), u)
    h = torch.diag_embed(roots)
    for _ in range(ORDERS):
        change = b - matmul(h, h)
        h = h + k * (change - change.detach())
    return matmul(matmul(u, h), u.mT)


def _eigen(a: Tensor, tol: float | None) -> tuple[Tensor, Tensor, Tensor]:
    """Eigenvectors, roots of the eigenvalues, and K."""
    finite = a.isfinite().all(-1).all(-1)  # eigh raises an error for others
    values, u = torch.linalg.eigh(torch.where(finite[..., None, None], a, 0.0))
    values = torch.where(finite[..., None], values, torch.nan)
    if tol is None:
        tol = a.shape[-1] * torch.finfo(a.dtype).eps / 2
    floor = tol * values.amax(-1, keepdim=True).clamp(min=0)
    zero = values <= floor  # NaN is not <= anything: it stays
    roots = torch.where(zero, 0.0, torch.where(zero, 1.0, values).sqrt())
    both = zero[..., :, None] & zero[..., None, :]
    sums = roots[..., :, None] + roots[..., None, :]
    return u, roots, torch.where(both, 0.0, 1 / torch.where(both, 1.0, sums))
