"""The square root of symmetric positive semidefinite matrices."""

import torch
from torch import Tensor

from ...contract import refuse
from ...contract.matrices import STEPS, Method, Normalize, check_matrix_sqrt
from ._fx import leaf
from ._tensors import matmul, spec, upcast

ORDERS = 3
"""How many orders of derivatives of ``method="eigen"`` are exact."""


@leaf
def matrix_sqrt(
    a: Tensor,
    *,
    method: Method = "newton_schulz",
    steps: int = STEPS,
    normalize: Normalize = "trace",
    tol: float | None = None,
) -> Tensor:
    """Square root of symmetric positive semidefinite matrices.

    `bilinear.reference.matrix_sqrt` specifies the values, gradients and errors.

    Args:
        a: matrices (N, C, C); their symmetric part (a + aᵀ)/2 is used.
        method: ``"newton_schulz"`` iterates, ``"eigen"`` is exact. Default ``"newton_schulz"``.
        steps: number of Newton–Schulz steps, from 1 to 1000. Default 5.
        normalize: what the iteration divides by, ``"trace"`` (default) or ``"frobenius"``.
        tol: eigenvalues up to this fraction of the largest count as 0, at least 0 and below 1;
            None is C times the unit roundoff. Default None.

    Returns: Roots (N, C, C) in the dtype of a.
    Gradient: with ``"eigen"``, derivatives up to the third order are exact.
    Cost: time N·C³, times 3·steps, or about 20 for ``"eigen"``. The gradient needs memory for
        4·steps, or about 12, matrices per sample.

    Example:
        >>> matrix_sqrt(4 * torch.eye(2)[None], method="eigen")
        tensor([[[2., 0.],
                 [0., 2.]]])
    """
    check_matrix_sqrt(spec("matrix_sqrt", "a", a), method, steps, normalize, tol)
    return matrix_sqrt_unchecked(upcast(a), method, steps, normalize, tol).to(a.dtype)


def matrix_sqrt_unchecked(
    a: Tensor, method: Method, steps: int, normalize: Normalize, tol: float | None
) -> Tensor:
    """The unchecked formula."""
    a = (a + a.transpose(-2, -1)) / 2
    if method == "eigen":
        return _spectral_root(a, tol)
    s, dead = scale(a, normalize)
    sane = torch.where(dead, 0.0, a) / s  # a dropped iteration must not overflow: 0 · inf is NaN
    y, _, t = newton_schulz(sane, steps)
    return torch.where(dead, 0.0 * a, s.sqrt() * matmul(y, t))


def newton_schulz(y: Tensor, steps: int) -> tuple[Tensor, Tensor, Tensor]:
    """Y, Z and T of the last step, which ends with ``Y T`` and ``T Z``."""
    identity = torch.eye(y.shape[-1], dtype=y.dtype, device=y.device)
    z, t = identity, 1.5 * identity - 0.5 * y
    for step in range(1, steps):
        y, z = matmul(y, t), matmul(t, z) if step > 1 else t
        t = 1.5 * identity - 0.5 * matmul(z, y)
    return y, z, t


def scale(a: Tensor, normalize: Normalize) -> tuple[Tensor, Tensor]:
    """What the matrices are divided by, 1 where it is not positive, and where that is."""
    if normalize == "trace":
        s = a.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]
        dead = s <= 0
        return torch.where(dead, 1.0, s), dead
    square = (a * a).sum((-2, -1), keepdim=True)
    dead = square <= 0
    return torch.where(dead, 1.0, square).sqrt(), dead  # no derivative of it is infinite


def _spectral_root(a: Tensor, tol: float | None) -> Tensor:
    """``U diag(√λ) Uᵀ``, whose derivatives are finite for equal eigenvalues and zeros.

    Derivatives of eigenvectors divide by differences of eigenvalues, so eigenvectors U and
    eigenvalues λ are constants here. For B = Uᵀ a U and K_ij = 1 / (√λi + √λj), a step

        H ← H + K ∘ (B − H H − its value)

    leaves the value H = diag(√λ) and makes its derivatives exact to one order more: with H off by
    terms E of order n in a change of B, H H is off by ``diag(√λ) · E + E · diag(√λ)`` and terms of
    order n + 1, and K takes the former back. Where two eigenvalues count as 0, K is 0.
    """
    u, roots, k = eigen(a.detach(), tol)
    h = spectral_steps(matmul(matmul(u.transpose(-2, -1), a), u), roots, k)
    return matmul(matmul(u, h), u.transpose(-2, -1))


def spectral_steps(b: Tensor, roots: Tensor, k: Tensor) -> Tensor:
    """H after the steps of `_spectral_root`."""
    h = torch.diag_embed(roots) + k * (b - b.detach())  # the first step: H H is constant
    for _ in range(ORDERS - 1):
        change = b - matmul(h, h)
        h = h + k * (change - change.detach())
    return h


def eigen(a: Tensor, tol: float | None) -> tuple[Tensor, Tensor, Tensor]:
    """Eigenvectors, roots of the eigenvalues, and K."""
    if _in_onnx_export():
        # Dynamo, which the exporter tries next, would take the answer to be False
        torch.compiler.assume_constant_result(_in_onnx_export)
        remedy = "Use 'newton_schulz', or export with torch.export."
        refuse(ValueError, "matrix_sqrt", "ONNX has no eigenvectors for method", "'eigen'", remedy)
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


def _in_onnx_export() -> bool:
    return torch.onnx.is_in_onnx_export()
