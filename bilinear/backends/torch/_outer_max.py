"""The largest product of two channels over locations, and its derivatives, in blocks.

Let W[l,c,d] be one over the number of locations that share the maximum of (c, d), and 0 at other
locations. W is a constant to every derivative, so the maximum and its derivatives of any order are
sums over one axis of

    W[l,c,d] · (two of g[c,d], a[l,c], b[l,d])

No block holds all N·L·C·D products: those of a few channels c are computed and compared with the
maxima, then those of the next channels. When compiled, traced, or under a forward derivative of a
forward derivative, the products are in one piece.
"""

import torch
from torch import Tensor

from ._tensors import autocast_off, use_plain_operations

BLOCK = 32 * 2**20
"""Bytes of products in memory at once, unless one channel has more."""
CACHED = 2**18
"""Bytes of running maxima on a CPU that stay in its cache."""


def outer_max(x: Tensor, y: Tensor, mask: Tensor | None) -> Tensor:
    """(N, C, D) of streams in the accumulation dtype, which are 0 where masked."""
    if use_plain_operations():
        return _plain(x, y, mask)
    with torch.no_grad(), autocast_off(x):
        largest = _largest(x.detach(), y.detach(), mask)
    return _Sum.apply("lc,ld->cd", x, y, largest, x, y, largest, mask)


def _plain(x: Tensor, y: Tensor, mask: Tensor | None) -> Tensor:
    """In one piece, for a compiler to fuse the products into the sums that they enter."""
    products = x[:, :, :, None] * y[:, :, None]
    fixed = products.detach()
    valid = None if mask is None else mask[:, :, None, None]
    largest = (fixed if valid is None else torch.where(valid, fixed, -torch.inf)).amax(1)
    if valid is not None:
        largest = torch.where(valid.any(1), largest, 0.0)
    reached = _reached(fixed, largest, mask)
    scale = _scale(reached, largest)
    return largest + torch.where(reached, products - fixed, 0.0).sum(1) * scale


def _largest(x: Tensor, y: Tensor, mask: Tensor | None) -> Tensor:
    """The maxima without a derivative; 0 in samples without a valid location."""
    if mask is not None:  # a product of -inf with a channel of 0 would be NaN
        first = mask.int().argmax(1)[:, None, None]
        x, y = (
            torch.where(mask[..., None], t, t.gather(1, first.expand(-1, 1, t.shape[2])))
            for t in (x, y)
        )
    if x.device.type != "cpu":
        blocks = [(x[:, :, part, None] * y[:, :, None]).amax(1) for part in _blocks(x, y, BLOCK)]
        return torch.cat(blocks, 1)
    found = []
    for part in _blocks(x[:, :1], y, CACHED):
        pairs = zip(x[:, :, part, None].unbind(1), y[:, :, None].unbind(1), strict=True)
        largest = None
        for a, b in pairs:
            largest = a * b if largest is None else torch.maximum(largest, a * b)
        found.append(largest)
    return torch.cat(found, 1)


class _Sum(torch.autograd.Function):
    """``Σ W · first · second``; the rule names their axes and those of the result, as einsum does.

    `value` is the result where it is known already; x, y, largest and mask define W.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(rule, first, second, value, x, y, largest, mask):
        if value is not None:
            return value.clone()
        with autocast_off(first):
            return _sum(rule, first, second, x, y, largest, mask)

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        ctx.rule, first, second, _, *shares = inputs
        ctx.save_for_backward(first, second, *shares)
        ctx.save_for_forward(first, second, *shares)

    @staticmethod
    def backward(ctx, cotangent):
        first, second, *shares = ctx.saved_tensors
        a, b, result = _axes(ctx.rule)
        of_first = of_second = None
        if ctx.needs_input_grad[1]:
            of_first = _apply(f"{result},{b}->{a}", cotangent, second, shares)
        if ctx.needs_input_grad[2]:
            of_second = _apply(f"{result},{a}->{b}", cotangent, first, shares)
        return None, of_first, of_second, None, None, None, None, None

    @staticmethod
    def jvp(ctx, _rule, d_first, d_second, *_):
        first, second, *shares = ctx.saved_tensors
        pairs = [pair for pair in ((d_first, second), (first, d_second)) if None not in pair]
        return sum(_apply(ctx.rule, *pair, shares) for pair in pairs)


def _apply(rule: str, first: Tensor, second: Tensor, shares: list[Tensor | None]) -> Tensor:
    constants = [None if t is None else t.detach() for t in shares]
    return _Sum.apply(rule, first, second, None, *constants)  # pyright: ignore


def _sum(
    rule: str,
    first: Tensor,
    second: Tensor,
    x: Tensor,
    y: Tensor,
    largest: Tensor,
    mask: Tensor | None,
) -> Tensor:
    *axes, result = _axes(rule)
    found = []
    for part in _blocks(x, y, BLOCK):
        reached = _reached(x[:, :, part, None] * y[:, :, None], largest[:, part], mask)
        scale = _scale(reached, largest[:, part])
        a, b = (_block(f, names, part) for f, names in zip((first, second), axes, strict=True))
        if "cd" in axes:  # scaled before it is spread over locations
            a, b = (
                f * scale[:, None] if n == "cd" else f for f, n in zip((a, b), axes, strict=True)
            )
        terms = torch.where(reached, a * b, 0.0).sum({"cd": 1, "ld": 2, "lc": 3}[result])
        found.append(terms * scale if result == "cd" else terms)
    if result == "ld":
        return sum(found[1:], start=found[0])
    return torch.cat(found, 2 if result == "lc" else 1)


def _axes(rule: str) -> list[str]:
    """The axes of both factors, then those of the result."""
    factors, result = rule.split("->")
    return [*factors.split(","), result]


def _block(factor: Tensor, axes: str, part: slice) -> Tensor:
    """A block of g, a or b that broadcasts to (N, L, C, D)."""
    if axes == "cd":
        return factor[:, None, part]
    return factor[:, :, part, None] if axes == "lc" else factor[:, :, None]


def _reached(products: Tensor, largest: Tensor, mask: Tensor | None) -> Tensor:
    """Where a product is the maximum; where that is NaN, at all valid locations."""
    reached = ~(products < largest[:, None])
    return reached if mask is None else reached & mask[:, :, None, None]


def _scale(reached: Tensor, largest: Tensor) -> Tensor:
    """One over the number of locations that share a maximum; NaN where the maximum is."""
    count = reached.sum(1, dtype=largest.dtype).clamp(min=1)
    return torch.where(largest.isnan(), largest, 1 / count)


def _blocks(x: Tensor, y: Tensor, limit: int) -> list[slice]:
    """Blocks of channels of x with at most `limit` bytes of products, but at least one channel."""
    samples, locations, channels = x.shape
    size = samples * locations * y.shape[2] * x.element_size()
    count = max(1, limit // max(1, size))
    return [slice(i, min(i + count, channels)) for i in range(0, channels, count)]
