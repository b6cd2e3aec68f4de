"""The pooled outer product of location features."""

from typing import Any

import tensorflow as tf

from ...contract import ACCUMULATION, Reduction
from ...contract.pooling import check_outer_pool
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
    Cost: time O(N·L·C·D), twice that for the gradient; memory and output N·C·D beside x and y.
    Raises: ValueError and TypeError as `contract.pooling.check_outer_pool`, in a tf.function
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
    x_kept = kept(wide(x), mask)
    y_kept = x_kept if y is None else kept(wide(y), mask)
    g = tf.matmul(x_kept, y_kept, transpose_a=True)
    z = count(x, mask, reduction)
    return g if z is None else g / z[..., None]


def kept(x: tf.Tensor, mask: Any) -> tf.Tensor:
    """Select, do not multiply: a masked NaN must not survive as 0 · NaN."""
    return x if mask is None else tf.where(mask[..., None], x, constant(0, x))


def count(x: tf.Tensor, mask: Any, reduction: Reduction) -> Any:
    """Z, a scalar or a number for each sample in a column; None for 1."""
    if reduction == "sum":
        return None
    kind = ACCUMULATION[x.dtype.name]
    if mask is None:
        return tf.cast(shape(x)[1], kind)
    z = tf.reduce_sum(tf.cast(mask, kind), 1, keepdims=True)
    return tf.maximum(z, constant(1, z))  # nothing kept: the sum is 0 already
