"""`bilinear_pool` as one autograd function that holds little between the passes.

With ``u = z / n`` the descriptor of a sample, ``z`` its signed root and ``n`` the norm (or its
floor), the slope of the root can be read off the output: ``1 / (2 n |u|)``. From a cotangent γ,

    h = (γ − u ⟨u, γ⟩) / (2 n Z |z|), without the projection at or below the floor; 0·γ where z = 0

and the gradients are ``y hᵀ`` and ``x h``; for one stream ``x (h + hᵀ)``, one product. The inputs,
the output (in float32 for half-precision dtypes) and n are held. `_bilinear_passes` has the passes
that are not differentiated; second derivatives and compilers use the plain operations here.
"""

import functools

import torch
from torch import Tensor

from . import _bilinear_passes
from ._tensors import autocast_off, matmul, upcast
from ._triangle import flat_to_packed
from .half_vectorize import scale_off_diagonal, upper_triangle
from .l2_normalize import floor_norm
from .signed_sqrt import signed_sqrt_jvp, signed_sqrt_plain

CHUNK = 8 * 2**20
"""Bytes of matrices that are processed together on a CPU, few enough for a near cache."""


def bilinear_pool_plain(
    x: Tensor, y: Tensor | None, z: Tensor | int, eps: float, l2_eps: float, packed: bool
) -> Tensor:
    """The formula in plain operations, in the accumulation dtype: what compilers see."""
    x = upcast(x)  # once, so that both gradients of one stream are added before they are rounded
    s, n = _root_and_norm(x, x if y is None else y, z, eps, l2_eps, packed)
    return s / n


class FusedBilinearPool(torch.autograd.Function):
    """(x, y or None, Z, eps, l2_eps, packed) -> descriptors, norms not below l2_eps."""

    @staticmethod
    def forward(x, y, z, eps, l2_eps, packed):
        with autocast_off(x):
            if y is None:
                return _bilinear_passes.forward_of_one(x, z, eps, l2_eps, packed, _at_a_time(x, x))
            return _bilinear_passes.forward(x, y, z, eps, l2_eps, _at_a_time(x, y))

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
        with autocast_off(x):
            if torch.is_grad_enabled():  # it will be differentiated: from the inputs again
                s, n = _root_and_norm(x, y, z, ctx.eps, ctx.l2_eps, ctx.packed)
                dx, dy = _gradients(cotangent, x, y, z, s / n, n, ctx.l2_eps, ctx.packed)
                dx, dy = (dx + dy, None) if ctx.one_stream else (dx, dy)
                return dx, dy, None, None, None, None
            above = ~(n <= torch.full_like(n, ctx.l2_eps))
            divisor = n * (z[:, None] if isinstance(z, Tensor) else z)
            few = _at_a_time(x, y)
            if ctx.packed:
                dx = _bilinear_passes.backward_of_packed(cotangent, x, few, u, n, divisor, above)
                return dx, None, None, None, None, None
            wanted = ctx.needs_input_grad[:2]
            d = _bilinear_passes.backward(
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
            dg = scale_off_diagonal(
                scale_off_diagonal(dg, x.shape[2]), x.shape[2]
            )  # another for that in s
        return _projected(signed_sqrt_jvp(dg, s), s / n, n, ctx.l2_eps) / n, None

    @staticmethod
    def vmap(info, in_dims, x, y, z, eps, l2_eps, packed):
        """A mapped axis is more samples."""

        def folded(t, axis):
            if not isinstance(t, Tensor):
                return t
            t = t.expand(info.batch_size, *t.shape) if axis is None else t.movedim(axis, 0)
            return t.flatten(0, 1)

        x, y, z = (folded(t, axis) for t, axis in zip((x, y, z), in_dims, strict=False))
        results = FusedBilinearPool.apply(x, y, z, eps, l2_eps, packed)
        shape = info.batch_size, x.shape[0] // info.batch_size
        return tuple(r.unflatten(0, shape) for r in results), (0, 0)


def _matrix(x: Tensor, y: Tensor, z: Tensor | int) -> Tensor:
    if isinstance(z, Tensor) and z.ndim:  # torch.jit.trace makes tensors of sizes
        z = z[:, None, None]
    return matmul(upcast(x).transpose(-2, -1), upcast(y)) / z


def _flat(g: Tensor, packed: bool) -> Tensor:
    return upper_triangle(g) if packed else g.flatten(1)


def _root_and_norm(
    x: Tensor, y: Tensor, z: Tensor | int, eps: float, l2_eps: float, packed: bool
) -> tuple[Tensor, Tensor]:
    """Signed roots (scaled if packed) and norms not below l2_eps, in differentiable operations."""
    s = signed_sqrt_plain(_flat(_matrix(x, y, z), packed), eps)
    s = scale_off_diagonal(s, x.shape[2]) if packed else s
    return s, floor_norm(s, l2_eps)


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
    """The gradients of x and y, in differentiable operations."""
    root = u.abs() * n
    h = _projected(cotangent, u, n, l2_eps) / (2 * n)
    dead = root == 0
    h = torch.where(dead, 0.0 * h, h / torch.where(dead, 1.0, root))
    if packed:  # both triangles of the symmetric matrix
        h = h.gather(1, flat_to_packed(x.shape[2], x).expand(len(h), -1))
    h = h.unflatten(-1, (x.shape[-1], y.shape[-1]))
    h = h / (z[:, None, None] if isinstance(z, Tensor) else z)
    dx, dy = matmul(upcast(y), h.transpose(-2, -1)), matmul(upcast(x), h)
    return dx.to(x.dtype), dy.to(y.dtype)


def _at_a_time(x: Tensor, y: Tensor) -> int:
    """How many samples are processed together: on an accelerator all."""
    size = x.shape[2] * y.shape[2] * upcast(x[:0]).element_size()
    return max(1, CHUNK // size if x.device.type == "cpu" else x.shape[0])
