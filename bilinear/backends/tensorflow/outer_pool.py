"""The pooled outer product of location features."""

from typing import Any

import tensorflow as tf

from ...contract import Reduction, check_outer_pool
from ._tensors import as_written, constant, operands, shape, spec, sure_locations, wide


@as_written
def outer_pool(
    x: Any, y: Any = None, *, mask: Any = None, reduction: Reduction = "mean"
) -> tf.Tensor:
    """Pool the outer products of two feature vectors over all locations.

    ``G[n,c,d] = (1/Z) Σ_l x[n,l,c] · y[n,l,d]`` over the locations kept, where Z is their
    number for ``"mean"`` and 1 for ``"sum"``. ``y=None`` is one stream: y = x.

    Shapes: x (N, L, C), y (N, L, D), mask (N, L) boolean, True where kept -> (N, C, D).
        Anything `tf.convert_to_tensor` takes; sizes, and the rank, may be unknown until run time.
    Gradient: ``(Γ + Γᵀ) x / Z`` for one stream; ``Γ y / Z`` and ``Γᵀ x / Z`` for two.
    Edges: a masked location enters no product, NaN included, and its gradient is 0; a sample
        without a location kept pools to 0 with gradient 0. Half types accumulate in float32.
        On GPUs TensorFlow multiplies float32 matrices in TF32 unless
        `tf.config.experimental.enable_tensor_float_32_execution(False)` was called.
    Raises: ValueError and TypeError as `bilinear.contract.check_outer_pool`, in a tf.function
        when it is traced. Sizes unknown then are checked at run time, with the same sentence in
        a tf.errors.InvalidArgumentError; XLA (``jit_compile=True``) drops the sentence and says
        that a node named ``..._needs_sizes_that_fit`` cannot be compiled.
    Source: Lin, RoyChowdhury, Maji, ICCV 2015, equations 1 and 2.
    """
    op = "outer_pool"
    x, y, mask = operands(op, x, y, mask)
    check_outer_pool(spec(x), spec(y), spec(mask), reduction)
    x, y, mask = sure_locations(op, x, y, mask)
    return tf.cast(pooled(x, y, mask, reduction), x.dtype)


def pooled(x: tf.Tensor, y: Any, mask: Any, reduction: Reduction) -> tf.Tensor:
    """The unchecked formula, in the accumulation dtype."""
    x_kept = _keep(wide(x), mask)
    y_kept = x_kept if y is None else _keep(wide(y), mask)
    g = tf.matmul(x_kept, y_kept, transpose_a=True)
    if reduction == "sum":
        return g
    if mask is None:
        return g / tf.cast(shape(x)[1], g.dtype)
    kept = tf.reduce_sum(tf.cast(mask, g.dtype), 1)
    kept = tf.maximum(kept, constant(1, g))  # nothing kept: the sum is 0 already
    return g / kept[:, None, None]


def _keep(x: tf.Tensor, mask: Any) -> tf.Tensor:
    """Select, do not multiply: a masked NaN must not survive as 0 · NaN."""
    return x if mask is None else tf.where(mask[..., None], x, constant(0, x))
