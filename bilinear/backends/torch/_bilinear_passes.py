"""The forward and the backward pass of `bilinear_pool`, into given memory, without derivatives.

On a CPU they process `count` samples at a time, so that intermediate matrices stay in the cache.
The matrices of one stream are symmetric: only blocks on and above the diagonal are multiplied. The
gradient of a packed descriptor, ``v = w z / n`` with w = √2 off the diagonal and 1 on it, is

    x S,   S = (γ − v ⟨v, γ⟩) / (n² Z |v|), no projection at or below the floor; 0·γ where z = 0

The gradient has the factor w twice: in ``|v|``, and to make up for the two triangles of S.
"""

import torch
from torch import Tensor

from ...contract.pooling import packed_size
from ._tensors import multiplies, multiply, upcast
from ._triangle import diagonal_entries, flat_to_packed, triangle_blocks
from .l2_normalize import norms
from .signed_sqrt import signed_sqrt_

BLOCK = 96
"""Rows of a symmetric matrix in one product on a CPU."""

APART = 16
"""Padding of rows that are read by columns: rows a power of 2 apart would share few cache lines."""


def forward(
    x: Tensor, y: Tensor, z: Tensor | int, eps: float, l2_eps: float, count: int
) -> tuple[Tensor, Tensor]:
    """Descriptors of two streams, and norms not below the floor."""
    u = x.new_empty((x.shape[0], x.shape[2], y.shape[2]), dtype=upcast(x[:0]).dtype)
    n, sign = u.new_empty((len(u), 1)), u.new_empty(0)
    for part in _parts(u, count):
        g = u[part]
        multiply(x[part].mT, y[part], out=g)
        sign = _roots(g.flatten(1), z, part, eps, sign)
        n[part] = norms(g.flatten(1)).clamp(min=l2_eps)
        g.flatten(1).div_(n[part])
    return u.flatten(1), n


def forward_of_one(
    x: Tensor, z: Tensor | int, eps: float, l2_eps: float, packed: bool, count: int
) -> tuple[Tensor, Tensor]:
    """The same for one stream, packed or not."""
    channels, entries = x.shape[2], packed_size(x.shape[2])
    u = x.new_empty((len(x), entries if packed else channels**2), dtype=upcast(x[:0]).dtype)
    n, alone = u.new_empty((len(u), 1)), diagonal_entries(channels, x)
    s = sign = u.new_empty(0)
    for part in _parts(u, count):
        s = u[part] if packed else _space(s, len(u[part]), entries)
        _products(x[part] if multiplies(x.dtype, x.device) else upcast(x[part]), s)
        sign = _roots(s, z, part, eps, sign)
        once = s[:, alone]
        s[:, alone] = once * 0.5**0.5  # what is off the diagonal counts twice in the norm
        norm = n[part] = (norms(s) * 2**0.5).clamp(min=l2_eps)
        if packed:
            s.div_(norm * 0.5**0.5)
            continue
        s[:, alone] = once
        places = flat_to_packed(channels, x).expand(len(s), -1)
        torch.gather(s.div_(norm), 1, places, out=u[part])
    return u, n


@torch.library.custom_op("bilinear::bilinear_pool_backward", mutates_args=())
def backward(
    cotangent: Tensor,
    x: Tensor,
    y: Tensor,
    one_stream: bool,
    want_x: bool,
    want_y: bool,
    count: int,
    u: Tensor,
    n: Tensor,
    divisor: Tensor,
    above: Tensor,
) -> tuple[Tensor, Tensor]:
    """The first-order gradients; `divisor` is ``2 n Z``. PyTorch can map a custom operator."""
    dx, dy = (
        torch.empty_like(a if want else a[:0], memory_format=torch.contiguous_format)
        for a, want in ((x, want_x), (y, want_y))
    )
    shape = x.shape[2], y.shape[2]
    h = t = u.new_empty(0)
    divisors = _divisors(n, divisor)
    for part in _parts(u, count):
        c, v = (a[part].unflatten(1, shape) for a in (cotangent, u))
        t = _space(t, *v.shape)
        h = _space(h, len(v), shape[0], shape[1] + APART)
        m = h[:, :, : shape[1]]
        _slopes(c, v, [d[part, None] for d in divisors], above[part, None], m, t)
        if one_stream:
            _multiply(x[part], torch.add(m, m.mT, out=t), dx[part])
            continue
        if want_x:
            _multiply(y[part], m.mT, dx[part])
        if want_y:
            _multiply(x[part], m, dy[part])
    return dx, dy


@torch.library.custom_op("bilinear::packed_bilinear_pool_backward", mutates_args=())
def backward_of_packed(
    cotangent: Tensor, x: Tensor, count: int, v: Tensor, n: Tensor, divisor: Tensor, above: Tensor
) -> Tensor:
    """The same for a packed descriptor; `divisor` is ``n Z``."""
    dx = torch.empty_like(x, memory_format=torch.contiguous_format)
    channels, entries = x.shape[2], v.shape[1]
    h = m = v.new_empty(0)
    divisors = _divisors(n, divisor)
    for part in _parts(v, count):
        samples = len(v[part])
        h, m = _space(h, samples, entries), _space(m, samples, channels, channels)
        t = m.flatten()[: h.numel()].view_as(h)
        _slopes(cotangent[part], v[part], [d[part] for d in divisors], above[part], h, t)
        torch.gather(h, 1, flat_to_packed(channels, x).expand(samples, -1), out=m.flatten(1))
        _multiply(x[part], m, dx[part])
    return dx


def _parts(u: Tensor, count: int) -> list[slice]:
    return [slice(i, i + count) for i in range(0, len(u), count)]


def _space(last: Tensor, *shape: int) -> Tensor:
    """Reuse the memory of the previous part where it fits."""
    return last if last.shape == shape else last.new_empty(shape)


def _products(x: Tensor, s: Tensor) -> None:
    """The packed triangles of ``xᵀ x`` into `s`."""
    samples, _, channels = x.shape
    rows = min(BLOCK, channels) if x.device.type == "cpu" else channels
    space = s.new_empty(samples * rows * channels)
    for of, entries, places in triangle_blocks(channels, rows, x):
        size = samples, of.stop - of.start, channels - of.start
        block = space[: size[0] * size[1] * size[2]].view(size)
        multiply(x[:, :, of].mT, x[:, :, of.start :], out=block)
        torch.gather(block.flatten(1), 1, places.expand(samples, -1), out=s[:, entries])


def _roots(s: Tensor, z: Tensor | int, part: slice, eps: float, sign: Tensor) -> Tensor:
    """Signed roots of ``s / Z`` in place; returns the memory of the signs for the next part."""
    sign = _space(sign, *s.shape)
    if isinstance(z, Tensor):
        s.div_(z[part, None])
        signed_sqrt_(s, 1, eps, sign)
    else:
        signed_sqrt_(s, 1 / z, eps, sign)
    return sign


def _divisors(n: Tensor, divisor: Tensor) -> list[Tensor]:
    """`n` and `divisor`, or their product where it is in range and needs no synchronization."""
    product, range_ = n * divisor, torch.finfo(n.dtype)
    if n.device.type == "cpu":
        low, high = range_.tiny**0.5, range_.max / 2
        if bool(((product > low) & (product < high)).all()):
            return [product]
    return [divisor, n]


def _slopes(
    c: Tensor, v: Tensor, divisors: list[Tensor], above: Tensor, h: Tensor, t: Tensor
) -> None:
    """``(c − v ⟨v, c⟩) / |v|``, over all divisors, into `h`, 0·c where v is 0; `t` is space."""
    axes = tuple(range(1, v.ndim))
    along = torch.mul(v, c, out=t).sum(axes, keepdim=True)
    torch.addcmul(c, v, torch.where(above, along, 0.0), value=-1, out=h)
    torch.mul(v, divisors[0], out=t).abs_()
    h.div_(torch.threshold_(t, 0.0, torch.inf))  # 0 · h where the root is 0: NaN stays
    for divisor in divisors[1:]:
        h.div_(divisor)


def _multiply(a: Tensor, b: Tensor, result: Tensor) -> None:
    """``a b`` into `result`, rounded to its dtype."""
    if result.dtype == b.dtype:
        torch.bmm(a, b, out=result)
    else:
        result.copy_(multiply(a, b))
