"""The descriptor of the bilinear CNN: outer product, signed root, unit length."""

from torch import Tensor

from ...contract import EPS, L2_EPS, DescriptorOptions, Norm, Reduction, Root
from ...contract.pooling import check_bilinear_pool
from ._fused import fused, plain
from ._tensors import by_plain_steps, check_devices, specs, wide
from .half_vectorize import upper, weighed
from .l2_normalize import normalized
from .outer_pool import counted, keep, pooled
from .signed_sqrt import rooted


def bilinear_pool(
    x: Tensor,
    y: Tensor | None = None,
    *,
    mask: Tensor | None = None,
    reduction: Reduction = "mean",
    eps: float = EPS,
    l2_eps: float = L2_EPS,
    packed: bool = False,
    root: Root = "signed",
    slope_eps: float | None = None,
    norm: Norm = "floor",
) -> Tensor:
    """Bilinear pooling: ``l2_normalize(signed_sqrt(flatten(outer_pool(x, y))))``.

    The (C, D) matrix is flattened row-major, so feature ``c·D + d`` is the pair (c, d), and the
    normalisation is over the whole descriptor. With `packed`, for one stream, the symmetric matrix
    of roots is flattened by `half_vectorize` instead: inner products and norms stay the same.
    `root` with `slope_eps`, and `norm`, are the forms of `signed_sqrt` and `l2_normalize`.

    Shapes: x (N, L, C), y (N, L, D), mask (N, L) boolean -> (N, C·D), or (N, C(C+1)/2)
        if packed.
    Gradient, edges: those of the steps, in that order; with `packed`, that of the formula which
        reads the upper triangle. Half types are widened to float32 once at the start and
        rounded once at the end.
    Cost: time N·L·C·D, output N·C·D, or half of it. Between the passes the inputs and the output
        are held, with another form some multiple of the output.
        In the default form a forward pass takes at most 2 times the bytes of input and output,
        both passes 1.5 times those of input, output and their cotangents; 2 and 2 times
        with `packed`. Half types count as float32, in which they are computed, and with them it is
        2 and 2.25 times, 2 and 2.75 with `packed`.
        On a CPU the places of a triangle's entries, 12 C² bytes, are kept for the last four C.
    Raises: ValueError and TypeError as `bilinear.contract.pooling.check_bilinear_pool`.
    Source: Lin, RoyChowdhury, Maji, ICCV 2015, section 3.
    """
    op = "bilinear_pool"
    options = DescriptorOptions(reduction, eps, l2_eps, packed, root, slope_eps, norm)
    check_bilinear_pool(*specs(op, x, y, mask), options)
    check_devices(op, x=x, y=y, mask=mask)
    return described(x, y, mask, options)


def described(
    x: Tensor,
    y: Tensor | None,
    mask: Tensor | None,
    options: DescriptorOptions,
) -> Tensor:
    """The unchecked formula, rounded back to the dtype of `x`."""
    reduction, eps, l2_eps, packed, root, slope_eps, norm = options
    if not options.is_standard:
        g = pooled(x, y, mask, reduction)
        s = rooted(upper(g) if packed else g.flatten(1), eps, root, slope_eps)
        s = weighed(s, g.shape[1]) if packed else s
        return normalized(s, l2_eps, norm).to(x.dtype)
    z: Tensor | int = 1
    if reduction == "mean":
        z = x.shape[1] if mask is None else counted(mask, wide(x[:0]).dtype)
    x_kept = keep(x, mask)
    y_kept = None if y is None else keep(y, mask)
    formula = plain if by_plain_steps() else fused
    return formula(x_kept, y_kept, z, eps, l2_eps, packed).to(x.dtype)
