"""The descriptor of the bilinear CNN: outer product, signed root, unit length."""

from typing import Any

import tensorflow as tf

from ...contract import EPS, L2_EPS, Reduction, check_bilinear_pool
from ._fused import fused
from ._tensors import as_written, operands, spec, sure_locations
from .outer_pool import count, kept


@as_written
def bilinear_pool(
    x: Any,
    y: Any = None,
    *,
    mask: Any = None,
    reduction: Reduction = "mean",
    eps: float = EPS,
    l2_eps: float = L2_EPS,
) -> tf.Tensor:
    """Bilinear pooling: ``l2_normalize(signed_sqrt(flatten(outer_pool(x, y))))``.

    The (C, D) matrix is flattened row-major, so feature ``c·D + d`` is the pair (c, d), and the
    normalisation is over the whole descriptor.

    Shapes: x (N, L, C), y (N, L, D), mask (N, L) boolean -> (N, C·D). Anything
        `tf.convert_to_tensor` takes; sizes, and the rank, may be unknown until run time.
    Gradient, edges: those of the three steps, in that order. Half types are widened to float32
        once at the start and rounded once at the end.
    Raises: ValueError and TypeError as `bilinear.contract.check_bilinear_pool`; sizes unknown
        when a tf.function is traced as `outer_pool`.
    Source: Lin, RoyChowdhury, Maji, ICCV 2015, section 3.
    """
    op = "bilinear_pool"
    x, y, mask = operands(op, x, y, mask)
    check_bilinear_pool(spec(x), spec(y), spec(mask), reduction, eps, l2_eps)
    x, y, mask = sure_locations(op, x, y, mask)
    return described(x, y, mask, reduction, eps, l2_eps)


def described(
    x: tf.Tensor, y: Any, mask: Any, reduction: Reduction, eps: float, l2_eps: float
) -> tf.Tensor:
    """The unchecked formula, rounded back to the dtype of `x`."""
    z = count(x, mask, reduction)
    x_kept = kept(x, mask)
    y_kept = None if y is None else kept(y, mask)
    return tf.cast(fused(x_kept, y_kept, z, eps, l2_eps), x.dtype)
