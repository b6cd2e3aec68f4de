"""`bilinear_pool` as one function: little is held between the passes, and little is read twice.

With ``u = z / n`` the descriptor of a sample, ``z`` its signed root and ``n`` the norm (or its
floor), all that the gradient needs can be read off the output: ``|z| = n |u|``, so the slope of
the root is ``1 / (2 n |u|)``. From a cotangent γ,

    h = (γ − u ⟨u, γ⟩) / (2 n Z |z|), without the projection at or below the floor; 0·γ where z = 0

and the gradients are ``y hᵀ`` and ``x h``; for one stream ``x (h + hᵀ)``, one product. Held are
the inputs, the output (in float32 for half types) and n. `_passes` has the passes that nobody
differentiates; what is differentiated, or seen by a compiler, are the steps here.
"""

import functools

import torch
from torch import Tensor

from . import _passes
from ._tensors import matmul, no_autocast, wide
from ._triangle import unpacked
from .half_vectorize import upper, weighed
from .l2_normalize import floored
from .signed_sqrt import sloped, stepwise

CHUNK = 8 * 2**20
"""Bytes of the matrices that are worked on at a time on a CPU. Smaller pieces stay in a nearer
cache, but every pass over one waits for all threads, and on a busy machine for their cores.
"""


def plain(
    x: Tensor, y: Tensor | None, z: Tensor | int, eps: float, l2_eps: float, packed: bool
) -> Tensor:
    """The formula step by step, in the accumulation dtype: what compilers see."""
    s, n = _root_and_norm(x, x if y is None else y, z, eps, l2_eps, packed)
    return s / n


def fused(
    x: Tensor, y: Tensor | None, z: Tensor | int, eps: float, l2_eps: float, packed: bool
) -> Tensor:
    """The same, with its own gradient."""
    return _Fused.apply(x, y, z, eps, l2_eps, packed)[0]


class _Fused(torch.autograd.Function):
    """(x, y or None, Z, eps, l2_eps, packed) -> descriptors, floored norms."""

    @staticmethod
    def forward(x, y, z, eps, l2_eps, packed):
        with no_autocast(x):
            if y is None:
                return _passes.forward_of_one(x, z, eps, l2_eps, packed, _at_a_time(x, x))
            return _passes.forward(x, y, z, eps, l2_eps, _at_a_time(x, y))

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        x, y, z, ctx.eps, ctx.l2_eps, ctx.packed = inputs
        ctx.z = None if isinstance(z, Tensor) else z
        ctx.one_stream = y is None
        tensors = [x, x if y is None else y, *([z] if ctx.z is None else [])]
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(*tensors, *output)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx, cotangent, _):
        x, y, *z, u, n = ctx.saved_tensors
        z = z[0] if ctx.z is None else ctx.z
        with no_autocast(x):
            if torch.is_grad_enabled():  # it will be differentiated: from the inputs again
                s, n = _root_and_norm(x, y, z, ctx.eps, ctx.l2_eps, ctx.packed)
                dx, dy = _gradients(cotangent, x, y, z, s / n, n, ctx.l2_eps, ctx.packed)
                dx, dy = (dx + dy, None) if ctx.one_stream else (dx, dy)
                return dx, dy, None, None, None, None
            above = ~(n <= torch.full_like(n, ctx.l2_eps))
            divisor = n * (z[:, None] if isinstance(z, Tensor) else z)
            few = _at_a_time(x, y)
            if ctx.packed:
                dx = _passes.backward_of_half(cotangent, x, few, u, n, divisor, above)
                return dx, None, None, None, None, None
            wanted = ctx.needs_input_grad[:2]
            d = _passes.backward(
                cotangent, x, y, ctx.one_stream, *wanted, few, u, n, 2 * divisor, above
            )
            dx, dy = (d if want else None for d, want in zip(d, wanted, strict=True))
        return dx, dy, None, None, None, None

    @staticmethod
    def jvp(ctx, dx, dy, *_):
        x, y, *z = ctx.saved_tensors
        z = z[0] if ctx.z is None else ctx.z
        dy = dx if ctx.one_stream else dy
        terms = [_matrix(*pair, z) for pair in ((dx, y), (x, dy)) if None not in pair]
        dg = _flat(functools.reduce(torch.add, terms), ctx.packed)
        s, n = _root_and_norm(x, y, z, ctx.eps, ctx.l2_eps, ctx.packed)
        if ctx.packed:
            dg = weighed(weighed(dg, x.shape[2]), x.shape[2])  # another for that in s
        return _projected(sloped(dg, s), s / n, n, ctx.l2_eps) / n, None

    @staticmethod
    def vmap(info, in_dims, x, y, z, eps, l2_eps, packed):
        """A mapped axis is more samples."""

        def folded(t, axis):
            if not isinstance(t, Tensor):
                return t
            t = t.expand(info.batch_size, *t.shape) if axis is None else t.movedim(axis, 0)
            return t.flatten(0, 1)

        x, y, z = (folded(t, axis) for t, axis in zip((x, y, z), in_dims, strict=False))
        results = _Fused.apply(x, y, z, eps, l2_eps, packed)
        shape = info.batch_size, x.shape[0] // info.batch_size
        return tuple(r.unflatten(0, shape) for r in results), (0, 0)


def _matrix(x: Tensor, y: Tensor, z: Tensor | int) -> Tensor:
    if isinstance(z, Tensor) and z.ndim:  # torch.jit.trace makes tensors of sizes
        z = z[:, None, None]
    return matmul(wide(x).mT, wide(y)) / z


def _flat(g: Tensor, packed: bool) -> Tensor:
    return upper(g) if packed else g.flatten(1)


def _root_and_norm(
    x: Tensor, y: Tensor, z: Tensor | int, eps: float, l2_eps: float, packed: bool
) -> tuple[Tensor, Tensor]:
    """Signed roots, with their weights in half a descriptor, and floored norms, in steps that can
    be differentiated.
    """
    s = stepwise(_flat(_matrix(x, y, z), packed), eps)
    s = weighed(s, x.shape[2]) if packed else s
    return s, floored(s, l2_eps)


def _projected(v: Tensor, u: Tensor, n: Tensor, l2_eps: float) -> Tensor:
    """``v − u ⟨u, v⟩`` of the samples above the floor."""
    along = (u * v).sum(-1, keepdim=True)
    return v - u * torch.where(n <= torch.full_like(n, l2_eps), 0.0, along)


def _gradients(
    cotangent: Tensor,
    x: Tensor,
    y: Tensor,
    z: Tensor | int,
    u: Tensor,
    n: Tensor,
    l2_eps: float,
    packed: bool,
) -> tuple[Tensor, Tensor]:
    """Of x and y, in steps that can be differentiated."""
    root = u.abs() * n
    h = _projected(cotangent, u, n, l2_eps) / (2 * n)
    dead = root == 0
    h = torch.where(dead, 0.0 * h, h / torch.where(dead, 1.0, root))
    if packed:  # both halves of the symmetric matrix, of which each stream has one
        h = h.gather(1, unpacked(x.shape[2], x).expand(len(h), -1))
    h = h.unflatten(-1, (x.shape[-1], y.shape[-1]))
    h = h / (z[:, None, None] if isinstance(z, Tensor) else z)
    dx, dy = matmul(wide(y), h.mT), matmul(wide(x), h)
    return dx.to(x.dtype), dy.to(y.dtype)


def _at_a_time(x: Tensor, y: Tensor) -> int:
    """Samples whose matrices fit the cache; on an accelerator all."""
    size = x.shape[2] * y.shape[2] * wide(x[:0]).element_size()
    return max(1, CHUNK // size if x.device.type == "cpu" else x.shape[0])
