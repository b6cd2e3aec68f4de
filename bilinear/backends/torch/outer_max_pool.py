"""The maximum of the outer products of location features.

Let W[l,c,d] be one over the number of locations that share the maximum of (c, d), and 0 at other
locations. W is a constant to every derivative, so the maximum and its derivatives of any order are

    Σ_l W[l,c,d] a[l,c] b[l,d],   Σ_d W[l,c,d] g[c,d] b[l,d]   and   Σ_c W[l,c,d] g[c,d] a[l,c]
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from ...contract.aggregation import check_outer_max_pool
from ._tensors import autocast_off, specs, upcast, use_plain_operations
from .outer_pool import select_locations

BLOCK = 32 * 2**20
"""Bytes of products in memory at once, unless one channel has more."""


def outer_max_pool(x: Tensor, y: Tensor | None = None, *, mask: Tensor | None = None) -> Tensor:
    """Take the largest product of each pair of channels over all locations.

    `bilinear.reference.outer_max_pool` specifies the values, gradients and errors.

    Args:
        x: features of the first stream, (N, L, C).
        y: features of the second stream, (N, L, D); None is one stream, y = x. Default None.
        mask: boolean, (N, L), True at valid locations; None is all. Default None.

    Returns: Maxima (N, C, D) in the dtype of x.
    Cost: time O(N·L·C·D). Memory O(N·C·D) and one block of products, forward and backward: N·L·D
        values for each of as many channels as fit into 32 MiB, at least one; for all channels in
        compiled or traced code, and in a forward derivative of a forward derivative.

    Example:
        >>> outer_max_pool(torch.rand(2, 49, 8)).shape
        torch.Size([2, 8, 8])
    """
    op = "outer_max_pool"
    check_outer_max_pool(*specs(op, x, y, mask))
    return outer_max_pool_unchecked(x, y, mask).to(x.dtype)


def outer_max_pool_unchecked(x: Tensor, y: Tensor | None, mask: Tensor | None) -> Tensor:
    """The unchecked formula, in the accumulation dtype."""
    x_kept = select_locations(upcast(x), mask)
    y_kept = x_kept if y is None else select_locations(upcast(y), mask)
    if use_plain_operations():
        products = x_kept[..., None] * y_kept[:, :, None]
        fixed = products.detach()
        largest = _largest(fixed, mask)
        reached, share = _shares(fixed, largest, mask)
        return largest + torch.where(reached, products - fixed, 0.0).sum(1) * share
    fixed = x_kept.detach(), y_kept.detach()
    largest = torch.cat([_largest(products, mask) for _, products in _products(*fixed)], 1)
    return _Maximum.apply(largest, x_kept, y_kept, *fixed, largest, mask)  # pyright: ignore


class _Linear(torch.autograd.Function):
    """A sum that is linear in its first arguments; the last four define W."""

    generate_vmap_rule = True

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)


class _Maximum(_Linear):
    """``Σ_l W a b``, (N, C, D), or its `value` where that is known."""

    @staticmethod
    def forward(value, a, b, x, y, largest, mask):
        if value is not None:
            return value.clone()
        blocks = []
        for part, products in _products(x, y):
            reached, share = _shares(products, largest[:, part], mask)
            terms = torch.where(reached, a[:, :, part, None] * b[:, :, None], 0.0)
            blocks.append(terms.sum(1) * share)
        return torch.cat(blocks, 1)

    @staticmethod
    def backward(ctx, cotangent):
        _, a, b, *shares = ctx.saved_tensors
        return None, *_Gradients.apply(cotangent, a, b, *shares), None, None, None, None

    @staticmethod
    def jvp(ctx, _, da, db, *__):
        _, a, b, *shares = ctx.saved_tensors
        return _Maximum.apply(None, da, b, *shares) + _Maximum.apply(None, a, db, *shares)


class _Gradients(_Linear):
    """``Σ_d W g b``, (N, L, C), and ``Σ_c W g a``, (N, L, D)."""

    @staticmethod
    def forward(g, a, b, x, y, largest, mask):
        of_a, of_b = [], 0.0
        with autocast_off(a):
            for part, products in _products(x, y):
                reached, share = _shares(products, largest[:, part], mask)
                # not g[:, part], which is g itself in one block: batched gradients refuse an alias
                g_part = g.narrow(1, part.start, share.shape[1])
                shared = torch.where(reached, (g_part * share)[:, None], 0.0)
                of_a.append((shared @ b[..., None])[..., 0])
                of_b = of_b + (a[:, :, None, part] @ shared)[:, :, 0]
        return torch.cat(of_a, 2), of_b

    @staticmethod
    def backward(ctx, u, v):
        g, a, b, *shares = ctx.saved_tensors
        of_g = _Maximum.apply(None, u, b, *shares) + _Maximum.apply(None, a, v, *shares)
        return of_g, *_Gradients.apply(g, u, v, *shares), None, None, None, None

    @staticmethod
    def jvp(ctx, dg, da, db, *_):
        g, a, b, *shares = ctx.saved_tensors
        pairs = _Gradients.apply(dg, a, b, *shares), _Gradients.apply(g, da, db, *shares)
        return tuple(first + second for first, second in zip(*pairs, strict=True))


def _products(x: Tensor, y: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Blocks of channels of x, at least one channel each, and their products."""
    samples, locations, channels = x.shape
    size = samples * locations * y.shape[2] * x.element_size()
    count = max(1, BLOCK // max(1, size))
    for part in (slice(i, i + count) for i in range(0, channels, count)):
        yield part, x[:, :, part, None] * y[:, :, None]


def _largest(products: Tensor, mask: Tensor | None) -> Tensor:
    """The maxima over valid locations; 0 in samples without one."""
    if mask is None:
        return products.amax(1)
    valid = mask[:, :, None, None]
    return torch.where(valid.any(1), torch.where(valid, products, -torch.inf).amax(1), 0.0)


def _shares(products: Tensor, largest: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Where a product is the maximum (where that is NaN: at all valid locations), and W there."""
    reached = ~(products < largest[:, None])
    if mask is not None:
        reached = reached & mask[:, :, None, None]
    count = reached.sum(1, dtype=torch.int32).clamp(min=1)  # faster than a sum in floating point
    return reached, torch.where(largest.isnan(), largest, 1 / count.to(largest.dtype))
