"""The descriptor of the bilinear CNN: outer product, signed root, unit length."""

from torch import Tensor

from ...contract import EPS, L2_EPS, DescriptorOptions, Norm, Reduction, Root
from ...contract.options import is_standard
from ...contract.pooling import check_bilinear_pool
from ._fused_bilinear import FusedBilinearPool, bilinear_pool_plain
from ._fx import leaf
from ._tensors import specs, upcast, use_plain_operations
from .half_vectorize import scale_off_diagonal, upper_triangle
from .l2_normalize import l2_normalize_unchecked
from .outer_pool import count_locations, outer_pool_unchecked, select_locations
from .signed_sqrt import signed_sqrt_unchecked


@leaf
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

    `bilinear.reference.bilinear_pool` specifies the values, gradients and errors.

    Args:
        x: features of the first stream, (N, L, C).
        y: features of the second stream, (N, L, D); None is one stream, y = x. Default None.
        mask: boolean, (N, L), True at valid locations; None is all. Default None.
        reduction: ``"mean"`` or ``"sum"`` over the valid locations. Default ``"mean"``.
        eps: added inside the signed square root, 0 or a positive number. Default 1e-10.
        l2_eps: lower bound of the norm, a positive number. Default 1e-12.
        packed: return the upper triangle of one stream, as `half_vectorize` does. Default False.
        root: form of `signed_sqrt`. Default ``"signed"``.
        slope_eps: published slope of `signed_sqrt`; None is the derivative. Default None.
        norm: form of `l2_normalize`. Default ``"floor"``.

    Returns: Descriptors (N, C·D), or (N, C(C+1)/2) if packed, in the dtype of x.
    Cost: time N·L·C·D. The inputs and the output are saved for the backward pass; with another
        root or norm than the default, a multiple of the output. With the default, the forward pass
        needs at most 2 times the bytes of inputs and output, and both passes 1.5 times (packed: 2)
        those of inputs, output and their cotangents, or 2.25 (2.75) times for half precision,
        counted as float32. On a CPU, indices of 12 C² bytes are cached for the last four C.

    Example:
        >>> bilinear_pool(torch.rand(2, 49, 8)).shape
        torch.Size([2, 64])
    """
    op = "bilinear_pool"
    options = DescriptorOptions(reduction, eps, l2_eps, packed, root, slope_eps, norm)
    check_bilinear_pool(*specs(op, x, y, mask), options)
    return bilinear_pool_unchecked(x, y, mask, options)


def bilinear_pool_unchecked(
    x: Tensor, y: Tensor | None, mask: Tensor | None, options: DescriptorOptions
) -> Tensor:
    """The unchecked formula, rounded back to the dtype of `x`."""
    reduction, eps, l2_eps, packed, root, slope_eps, norm = options
    if not is_standard(options):
        g = outer_pool_unchecked(x, y, mask, reduction)
        s = signed_sqrt_unchecked(
            upper_triangle(g) if packed else g.flatten(1), eps, root, slope_eps
        )
        s = scale_off_diagonal(s, g.shape[1]) if packed else s
        return l2_normalize_unchecked(s, l2_eps, norm).to(x.dtype)
    z: Tensor | int = 1
    if reduction == "mean":
        z = x.shape[1] if mask is None else count_locations(mask, upcast(x[:0]).dtype)
    dtype = x.dtype
    if mask is not None:
        x, y = select_locations(x, mask), None if y is None else select_locations(y, mask)
    if use_plain_operations():
        return bilinear_pool_plain(x, y, z, eps, l2_eps, packed).to(dtype)
    return FusedBilinearPool.apply(x, y, z, eps, l2_eps, packed)[0].to(dtype)
