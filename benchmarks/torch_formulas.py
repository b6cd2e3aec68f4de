"""The published formulas of the operators in PyTorch."""

import torch

from .calls import DIM
from .layers import formulas


def outer_pool(x, y=None):
    return torch.bmm(x.mT, x if y is None else y) / x.shape[1]


def signed_sqrt(g):
    return torch.sign(g) * torch.sqrt(torch.abs(g) + 1e-10)


def l2_normalize(z):
    return torch.nn.functional.normalize(z, dim=-1)


def bilinear_pool(x, y=None, packed=False):
    s = signed_sqrt(outer_pool(x, y))
    return l2_normalize(half_vectorize(s) if packed else s.flatten(1))


def bilinear_scores(x, weight, bias):
    return bilinear_pool(x) @ weight.mT + bias


def triangle(g):
    rows, columns = torch.triu_indices(*g.shape[1:], device=g.device)
    return g[:, rows, columns]


def half_vectorize(g):
    rows, columns = torch.triu_indices(*g.shape[1:], device=g.device)
    return triangle(g) * torch.where(rows == columns, 1.0, 2**0.5)


def tensor_sketch(x, tables):
    """With dense sketch matrices and complex FFTs of every location."""
    a, b = (x @ _dense(h, s).to(x) for h, s in (tables[:2], tables[2:4]))
    product = torch.fft.fft(a) * torch.fft.fft(b)
    return torch.fft.ifft(product).real.mean(1)


def _dense(h, s):
    matrix = torch.zeros(len(h), DIM, device=h.device)
    matrix[torch.arange(len(h), device=h.device), h] = s.to(matrix)
    return matrix


def random_maclaurin(x, tables):
    w1, w2 = (w.to(x) for w in tables)
    return ((x @ w1) * (x @ w2)).mean(1) / DIM**0.5


def covariance_pool(x):
    n = x.shape[1]
    center = torch.eye(n, device=x.device) / n - 1.0 / n**2
    return x.mT @ center.to(x) @ x


def _newton_schulz(a, size):
    eye = 3 * torch.eye(a.shape[-1], device=a.device, dtype=a.dtype)
    y, z = a / size, eye / 3
    for _ in range(5):
        t = 0.5 * (eye - z @ y)
        y, z = y @ t, t @ z
    return y * size.sqrt()


def matrix_sqrt(a):
    return _newton_schulz(a, a.diagonal(dim1=1, dim2=2).sum(1)[:, None, None])


def frobenius_root(a):
    return _newton_schulz(a, a.norm(dim=(1, 2), keepdim=True))


def low_rank_scores(x, plus, minus, bias):
    above, below = (torch.einsum("nlc,kcr->nlkr", x, u) for u in (plus, minus))
    return (above**2).sum((1, 3)) - (below**2).sum((1, 3)) + bias


def democratic_weights(x):
    kernel = (x @ x.mT) ** 2
    target = kernel.sum(2).sqrt()
    weights = torch.ones_like(target)
    for _ in range(10):
        sums = (kernel @ weights[:, :, None])[:, :, 0] + 1e-10
        weights = (target + 1e-10).sqrt() * (weights + 1e-10).sqrt() / (sums.sqrt() + 1e-10)
    return weights


def hadamard_pool(x, y):
    return (x * y).mean(1)


def low_rank_pool(x, u, v):
    return hadamard_pool(x @ u, x @ v)


def outer_max_pool(x):
    return (x[:, :, :, None] * x[:, :, None, :]).amax(1)


def concatenate(parts):
    return torch.cat(parts, 1)


def flatten(g):
    return g.flatten(1)


FORMULAS = formulas(globals())
