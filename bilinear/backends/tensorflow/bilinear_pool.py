"""The descriptor of the bilinear CNN: outer product, signed root, unit length."""

from typing import Any

import tensorflow as tf

from ...contract import EPS, L2_EPS, DescriptorOptions, Norm, Reduction, Root
from ...contract.pooling import check_bilinear_pool
from ._fused import fused
from ._tensors import as_written, operands, sizes, spec, sure_locations
from .half_vectorize import upper, weighed
from .l2_normalize import normalized
from .outer_pool import count, kept, pooled
from .signed_sqrt import rooted


@as_written
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
    """Bilinear pooling: ``l2_normalize(signed_sqrt(flatten(outer_pool(x, y))))``.

    The (C, D) matrix is flattened row-major, so feature ``c·D + d`` is the pair (c, d), and the
    normalisation is over the whole descriptor. With `packed`, for one stream, the symmetric matrix
    of roots is flattened by `half_vectorize` instead: inner products and norms stay the same.
    `root` with `slope_eps`, and `norm`, are the forms of `signed_sqrt` and `l2_normalize`.

    Shapes: x (N, L, C), y (N, L, D), mask (N, L) boolean -> (N, C·D), or (N, C(C+1)/2)
        if packed. Anything `tf.convert_to_tensor` takes; sizes, and the rank, may be unknown until
        run time.
    Gradient, edges: those of the steps, in that order; with `packed`, that of the formula which
        reads the upper triangle. Half types are widened to float32 once at the start and
        rounded once at the end.
    Cost: time N·L·C·D, output N·C·D, or half of it. Between the passes the inputs and the output
        are held, with another form some multiple of the output.
        In the default form, in a graph, a forward pass takes at most 3.25 times the bytes of input
        and output, both passes 2.25 times those of input, output and their cotangents; 4 and
        2 times with `packed`. Half types count as float32, in which they are computed, and with
        them it is 3.25 and 2.75 times, 3.5 and 2 with `packed`.
    Raises: ValueError and TypeError as `contract.pooling.check_bilinear_pool`; sizes unknown
        when a tf.function is traced as `outer_pool`.
    Source: Lin, RoyChowdhury, Maji, ICCV 2015, section 3.
    """
    op = "bilinear_pool"
    x, y, mask = operands(op, x, y, mask)
    options = DescriptorOptions(reduction, eps, l2_eps, packed, root, slope_eps, norm)
    check_bilinear_pool(spec(x), spec(y), spec(mask), options)
    x, y, mask = sure_locations(op, x, y, mask)
    return described(x, y, mask, options)


def described(
    x: tf.Tensor,
    y: Any,
    mask: Any,
    options: DescriptorOptions,
) -> tf.Tensor:
    """The unchecked formula, rounded back to the dtype of `x`."""
    reduction, eps, l2_eps, packed, root, slope_eps, norm = options
    if not options.is_standard:
        g = pooled(x, y, mask, reduction)
        n, c, d = sizes(g)
        s = rooted(upper(g) if packed else tf.reshape(g, [n, c * d]), eps, root, slope_eps)
        s = weighed(s, c) if packed else s
        return tf.cast(normalized(s, l2_eps, norm), x.dtype)
    z = count(x, mask, reduction)
    x_kept = kept(x, mask)
    y_kept = None if y is None else kept(y, mask)
    return tf.cast(fused(x_kept, y_kept, z, eps, l2_eps, packed), x.dtype)
