"""The maximum of the outer products of location features.

Let W[l,c,d] be one over the number of locations that share the maximum of (c, d), and 0 at other
locations. W is a constant to every derivative, so the maximum and its derivatives of any order are

    Σ_l W[l,c,d] a[l,c] b[l,d],   Σ_d W[l,c,d] g[c,d] b[l,d]   and   Σ_c W[l,c,d] g[c,d] a[l,c]
"""

import warnings
from collections.abc import Iterator

import torch
from torch import Tensor

from ...contract.aggregation import check_outer_max_pool
from ._fx import leaf
from ._tensors import autocast_off, specs, upcast, use_plain_operations
from .outer_pool import select_locations

BLOCK = 2**20
"""Bytes of products in memory at once on a CPU, where they should fit into its cache."""
MAXIMA = "bilinear::outer_maxima"

with warnings.catch_warnings(action="ignore"):  # once in a process: sparse tensors are in beta
    torch.zeros(1, 1, device="cpu").to_sparse_csr()


@leaf
def outer_max_pool(x: Tensor, y: Tensor | None = None, *, mask: Tensor | None = None) -> Tensor:
    """Take the largest product of each pair of channels over all locations.

    `bilinear.reference.outer_max_pool` specifies the values, gradients and errors.

    Args:
        x: features of the first stream, (N, L, C).
        y: features of the second stream, (N, L, D); None is one stream, y = x. Default None.
        mask: boolean, (N, L), True at valid locations; None is all. Default None.

    Returns: Maxima (N, C, D) in the dtype of x.
    Cost: time O(N·L·C·D). Memory O(N·C·D) forward; backward also some blocks of products, of as
        many channels and samples as fit into 1 MiB (on a GPU 32 MiB), at least one channel. Other
        derivatives need memory for all N·L·C·D products, also one of the gradient or in
        `torch.func.grad`, and so does compiled or traced code.

    Example:
        >>> outer_max_pool(torch.rand(2, 49, 8)).shape
        torch.Size([2, 8, 8])
    """
    op = "outer_max_pool"
    check_outer_max_pool(*specs(op, x, y, mask))
    return outer_max_pool_unchecked(x, y, mask).to(x.dtype)


def outer_max_pool_unchecked(x: Tensor, y: Tensor | None, mask: Tensor | None) -> Tensor:
    """The unchecked formula, in the accumulation dtype."""
    x = select_locations(upcast(x), mask)
    y = x if y is None else select_locations(upcast(y), mask)
    p, q = x.detach(), y.detach()
    if mask is not None:  # products of -inf, but of 0 in a sample without valid locations
        compared = (mask | ~mask.any(1, keepdim=True))[..., None]
        p, q = torch.where(compared, p, -torch.inf), torch.where(compared, q, torch.inf)
    if use_plain_operations():
        terms, products = x[..., None] * y[:, :, None], p[..., None] * q[:, :, None]
        largest = products.amax(1)
        return largest + _mean_at_maxima(terms - terms.detach(), products, largest)
    q = q.contiguous()  # not before: a batch of 1 would be a constant of an exported program
    return _Maximum.apply(x, y, p, q)  # pyright: ignore


class _Maximum(torch.autograd.Function):
    """``Σ_l W x y``, whose value is the maximum; W follows from ``p q`` and the maximum."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x, y, p, q):
        return _maxima(p, q)

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        ctx.save_for_backward(*inputs, output)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx, cotangent):
        x, y, p, q, largest = ctx.saved_tensors
        samples = max(1, _rows(q) // x.shape[2])
        tensors = cotangent, x, y, p, q, largest.detach()
        parts = zip(*(t.split(samples) for t in tensors), strict=True)
        with autocast_off(x):
            gradients = zip(*(_gradients(*part) for part in parts), strict=True)
            return *map(torch.cat, gradients), None, None

    @staticmethod
    def jvp(ctx, dx, dy, *_):
        x, y, p, q = ctx.saved_tensors
        terms = dx[..., None] * y[:, :, None] + x[..., None] * dy[:, :, None]
        products = p[..., None] * q[:, :, None]
        return _mean_at_maxima(terms, products, products.amax(1))


def _gradients(g, x, y, p, q, largest) -> tuple[Tensor, Tensor]:
    """``Σ_d W g y``, (N, L, C), and ``Σ_c W g x``, (N, L, D)."""
    of_x, of_y = [], torch.zeros_like(y)
    for c, products in _blocks(p, q):
        sign, weight = _compare(products, largest[:, c])
        # not g[:, c], which may be g itself: batched gradients refuse an alias
        share = g.narrow(1, c.start, weight.shape[1]) * weight
        shared = _where_zero(sign, share[:, None].expand_as(sign))
        of_x.append((y[:, :, None] @ shared.transpose(-2, -1))[:, :, 0])
        of_y = of_y + (x[:, :, None, c] @ shared)[:, :, 0]
    return torch.cat(of_x, 2), of_y


torch.library.define(MAXIMA, "(Tensor x, Tensor y) -> Tensor")  # a custom_op takes 0.1 ms more


@torch.library.impl(MAXIMA, "CompositeExplicitAutograd")
def _find_maxima(x: Tensor, y: Tensor) -> Tensor:
    """The largest products; on a CPU, a sparse matrix product does not store the others."""
    if not x.is_cpu:
        return torch.cat([products.amax(1) for _, products in _blocks(x, y)], 1)
    samples, locations, channels = x.shape
    starts = torch.arange(0, x.numel() + 1, locations, device=x.device)
    columns = torch.arange(samples * locations, device=x.device).view(samples, 1, locations)
    columns, values = columns.expand(-1, channels, -1).flatten(), x.transpose(-2, -1).flatten()
    size = samples * channels, samples * locations
    rows = torch.sparse_csr_tensor(starts, columns, values, size, check_invariants=False)
    return torch.sparse.mm(rows, y.flatten(0, 1), "amax").unflatten(0, (samples, channels))


@torch.library.register_vmap(MAXIMA)  # pyright: ignore[reportOptionalCall]
def _(info, in_dims, *given):
    n, pairs = info.batch_size, zip(given, in_dims, strict=True)
    moved = (t.expand(n, *t.shape) if i is None else t.movedim(i, 0) for t, i in pairs)
    return _maxima(*(t.flatten(0, 1) for t in moved)).unflatten(0, (n, -1)), 0


torch.library.register_fake(MAXIMA, lambda x, y: x.new_empty(x.shape[0], x.shape[2], y.shape[2]))
_maxima = torch.ops.bilinear.outer_maxima.default


def _rows(y: Tensor) -> int:
    """Number of channels of x, in one or several samples, whose products fit in a block."""
    return max(1, (BLOCK if y.is_cpu else 32 * BLOCK) // (y.shape[1:].numel() * y.element_size()))


def _blocks(x: Tensor, y: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Blocks of channels of x, and their products."""
    width = max(1, _rows(y) // max(1, len(x)))
    for c in (slice(i, i + width) for i in range(0, x.shape[2], width)):
        yield c, x[:, :, c, None] * y[:, :, None]


def _compare(products: Tensor, largest: Tensor) -> tuple[Tensor, Tensor]:
    """-1 below the maximum, else 0 (where it is NaN: everywhere), in place; and W at the zeros."""
    sign = products.sub_(largest[:, None]).sign_()  # on a CPU faster than a comparison
    return sign, torch.where(largest.isnan(), largest, 1 / (sign.shape[1] + sign.sum(1)))


def _mean_at_maxima(terms: Tensor, products: Tensor, largest: Tensor) -> Tensor:
    """``Σ_l W terms``."""
    sign, weight = _compare(products, largest)
    return _where_zero(sign, terms).sum(1) * weight


def _where_zero(sign: Tensor, terms: Tensor) -> Tensor:
    """The terms where the sign is 0, not -1; else 0."""
    if torch.jit.is_tracing():  # pyright: ignore # the graph may become ONNX
        return torch.where(sign < 0, 0.0, terms)
    return torch.ops.aten.threshold_backward(terms, sign, -0.5)  # on a CPU faster than torch.where
