"""The descriptor of the bilinear CNN: outer product, signed root, unit length."""

from typing import Any

import tensorflow as tf

from ...contract import EPS, L2_EPS, DescriptorOptions, Norm, Reduction, Root
from ...contract.options import is_standard
from ...contract.pooling import check_bilinear_pool
from ._fused_bilinear import fused_bilinear_pool
from ._tensors import operands, sizes, without_autograph
from .half_vectorize import scale_off_diagonal, upper_triangle
from .l2_normalize import l2_normalize_unchecked
from .outer_pool import outer_pool_unchecked
from .signed_sqrt import signed_sqrt_unchecked


@without_autograph
def bilinear_pool(
    x: Any,
    y: Any = None,
    *,
    mask: Any = None,
    reduction: Reduction = "mean",
    eps: float = EPS,
    l2_eps: float = L2_EPS,
    packed: bool = False,
    root: Root = "signed",
    slope_eps: float | None = None,
    norm: Norm = "floor",
) -> tf.Tensor:
    """Bilinear pooling, ``l2_normalize(signed_sqrt(flatten(outer_pool(x, y))))``.

    Specification: `bilinear.reference.bilinear_pool`. Cost: time O(N·L·C·D). The inputs and the
    output are saved for the backward pass (in float32 for half-precision dtypes); with another
    `root` or `norm`, a few copies of the output. In a graph, the forward pass needs at most 3.25
    times the bytes of inputs and output, and both passes 2.25 times the bytes of inputs, output and
    their cotangents. With `packed`, the factors are 4 and 2. Half-precision arrays count as
    float32; for them the factors are 3.25 and 2.75, and 3.5 and 2 with `packed`.

    Args:
        x: (N, L, C) features.
        y: (N, L, D) features of a second stream; None means y = x.
        mask: (N, L) boolean, True at the valid locations; None means that all are valid.
        reduction: "mean" divides the sum by the number of valid locations, "sum" does not.
        eps: added inside the signed square root; a Python number, 0 or normal and positive.
        l2_eps: lower bound of the norm; a Python number, normal and positive.
        packed: return the upper triangle as `half_vectorize` does; one stream only.
        root: as in `signed_sqrt`.
        slope_eps: as in `signed_sqrt`.
        norm: as in `l2_normalize`.

    Returns: (N, C·D), or (N, C(C+1)/2) if packed, in the dtype of x.
    """
    options = DescriptorOptions(reduction, eps, l2_eps, packed, root, slope_eps, norm)
    x, y, mask = operands("bilinear_pool", x, y, mask, check_bilinear_pool, options)
    return bilinear_pool_unchecked(x, y, mask, options)


def bilinear_pool_unchecked(x, y, mask, options: DescriptorOptions) -> tf.Tensor:
    if not is_standard(options):
        reduction, eps, l2_eps, packed, root, slope_eps, norm = options
        g = outer_pool_unchecked(x, y, mask, reduction)
        n, c, d = sizes(g)
        g = upper_triangle(g) if packed else tf.reshape(g, [n, c * d])
        s = signed_sqrt_unchecked(g, eps, root, slope_eps)
        s = scale_off_diagonal(s, c) if packed else s
        return tf.cast(l2_normalize_unchecked(s, l2_eps, norm), x.dtype)
    return tf.cast(fused_bilinear_pool(x, y, mask, options), x.dtype)
