"""Compact bilinear pooling by a tensor sketch."""

import math

import torch
from torch import Tensor

from ...contract.sketches import SketchReduction, SketchTables, check_tensor_sketch
from ._fx import leaf
from ._tensors import autocast_off, specs, tables_to_tensors, upcast
from .outer_pool import outer_pool_unchecked, select_locations


@leaf
def tensor_sketch(
    x: Tensor,
    y: Tensor | None = None,
    *,
    tables: SketchTables,
    mask: Tensor | None = None,
    reduction: SketchReduction = "mean",
) -> Tensor:
    """Compact bilinear pooling by a tensor sketch.

    `bilinear.reference.tensor_sketch` specifies the values, gradients and errors.
    The entries of NumPy tables are checked, those of tensors are not. On a GPU, the order in which
    the terms of a bin are added is not fixed.

    Args:
        x: features of the first stream, (N, L, C).
        y: features of the second stream, (N, L, D); None is one stream, y = x. Default None.
        tables: `SketchTables`, as `sketch_tables` draws them.
        mask: boolean, (N, L), True at valid locations; None is all. Default None.
        reduction: ``"mean"``, ``"sum"``, or ``"none"``, which does not pool. Default ``"mean"``.

    Returns: Sketches (N, dim), or (N, L, dim) for ``"none"``, in the dtype of x.
    Cost: time N·L·C·D and memory N·C·D for one matrix product, which is faster than Fourier
        transforms at every location. For ``"none"``, time N·L·(C + D + dim log dim) and memory
        N·L·dim.

    Example:
        >>> tensor_sketch(torch.rand(2, 49, 8), tables=sketch_tables(8, None, 16)).shape
        torch.Size([2, 16])
    """
    op = "tensor_sketch"
    check_tensor_sketch(*specs(op, x, y, mask), reduction, tables)
    tables = tables_to_tensors(op, tables, x=x, y=y, mask=mask)
    return tensor_sketch_unchecked(x, y, tables, mask, reduction).to(x.dtype)


def tensor_sketch_unchecked(
    x: Tensor,
    y: Tensor | None,
    tables: SketchTables,
    mask: Tensor | None,
    reduction: SketchReduction,
) -> Tensor:
    """The unchecked formula, in the accumulation dtype."""
    if reduction == "none":
        x_kept = select_locations(upcast(x), mask)
        y_kept = x_kept if y is None else select_locations(upcast(y), mask)
        a = count_sketch(x_kept, tables.h1, tables.s1, tables.dim)
        b = count_sketch(y_kept, tables.h2, tables.s2, tables.dim)
        if x.shape[0] == 0:
            return a * b  # MKL refuses to transform nothing
        with autocast_off(x):
            if torch.onnx.is_in_onnx_export():
                return _real_convolution(a, b)
            return torch.fft.irfft(torch.fft.rfft(a) * torch.fft.rfft(b), n=tables.dim)
    g = outer_pool_unchecked(x, y, mask, reduction).flatten(1)
    bins = ((tables.h1[:, None] + tables.h2) % tables.dim).flatten()
    signs = (tables.s1[:, None] * tables.s2).flatten()
    out = count_sketch(g, bins, signs, tables.dim)
    return out + (0.0 * out).sum(-1, keepdim=True)  # one NaN fills all, of a cotangent too


def count_sketch(x: Tensor, h: Tensor, s: Tensor, dim: int) -> Tensor:
    """The count sketch over the last axis: what falls into one bin is added."""
    # not by index_add, whose forward derivative PyTorch 2.13 compiles into another number
    return x.new_zeros(*x.shape[:-1], dim).scatter_add(-1, h.expand(x.shape), x * s.to(x.dtype))


def _real_convolution(a: Tensor, b: Tensor) -> Tensor:
    """Circular convolution without complex numbers: the Fourier transforms are matrix products."""
    dim = a.shape[-1]
    steps, frequencies = torch.arange(dim), torch.arange(dim // 2 + 1)
    angles = (steps[:, None] * frequencies % dim).double() * (2 * math.pi / dim)
    cos, sin = (wave.to(a) for wave in (angles.cos(), angles.sin()))
    a_real, a_imaginary, b_real, b_imaginary = (z @ wave for z in (a, b) for wave in (cos, sin))
    real = a_real * b_real - a_imaginary * b_imaginary
    imaginary = a_real * b_imaginary + a_imaginary * b_real
    # both signs of a frequency, but 0 and dim / 2 once
    weights = torch.where(2 * frequencies % dim == 0, 1.0, 2.0).to(a) / dim
    return (real * weights) @ cos.T + (imaginary * weights) @ sin.T
