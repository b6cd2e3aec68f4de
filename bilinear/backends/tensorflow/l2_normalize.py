"""L2 normalisation over the last axis, with a floor on the norm."""

from typing import Any

import tensorflow as tf

from ...contract import L2_EPS, Norm
from ...contract.arrays import LAST_AXIS, LAST_AXIS_REMEDY
from ...contract.pooling import check_l2_normalize
from ._tensors import as_written, constant, required, shape, spec, sure, wide


@as_written
def l2_normalize(z: Any, *, eps: float = L2_EPS, norm: Norm = "floor") -> tf.Tensor:
    """Scale each vector to unit length, or by 1/eps where it is too short: ``z / max(‖z‖₂, eps)``.

    The form ``"added"`` is ``z / √(‖z‖₂² + eps)``, as published by Caffe's users.

    Shapes: z (..., K) -> the same. Anything `tf.convert_to_tensor` takes.
    Gradient: the quotient rule for ``‖z‖ > eps``; that of z / eps for ``‖z‖ <= eps``.
        With eps added, the quotient rule everywhere.
    Edges: the zero vector gives the zero vector, with slope 1/eps (1/√eps where it is
        added). A NaN makes its whole vector NaN. Half types are computed in float32. The floor
        is on the norm; `tf.math.l2_normalize` has its epsilon under the root, on the square.
    Cost: time, memory and output of the size of z.
    Raises: ValueError and TypeError as `bilinear.contract.pooling.check_l2_normalize`, and for an
        unknown form. A last axis unknown when a tf.function is traced is checked at run time,
        as in `outer_pool`.
    Source: Lin, RoyChowdhury, Maji, ICCV 2015, section 3.1; the floor is that of
        `torch.nn.functional.normalize`.
    """
    op = "l2_normalize"
    z = required(op, "z", z)
    check_l2_normalize(spec(z), eps, norm)
    if not z.shape[-1:].is_fully_defined():
        filled = tf.reduce_any(shape(z)[-1:] > 0)  # a scalar has no last axis: False
        z = sure(op, z, [(filled, LAST_AXIS, LAST_AXIS_REMEDY, [z])])
    return tf.cast(normalized(wide(z), eps, norm), z.dtype)


def normalized(z: tf.Tensor, eps: float, norm: Norm = "floor") -> tf.Tensor:
    """The unchecked formula."""
    if norm == "added":
        return z / tf.sqrt(tf.reduce_sum(z * z, -1, keepdims=True) + constant(eps, z))
    return z / floored(z, eps)


def floored(z: tf.Tensor, eps: float) -> tf.Tensor:
    """Norms, not below `eps`."""
    return length(tf.reduce_sum(z * z, -1, keepdims=True), eps)


def length(square: tf.Tensor, eps: float) -> tf.Tensor:
    """The root of the square of a norm, not below `eps`.

    The root is taken of a value that is never 0, so that no derivative of the branch which
    `where` drops is infinite. NaN is not <= eps: it stays in the norm and reaches every entry
    (XLA's maximum would drop it).
    """
    floor = constant(eps, square)
    short = tf.sqrt(tf.stop_gradient(square)) <= floor
    length = tf.sqrt(tf.where(short, constant(1, square), square))
    return tf.where(short, floor, length)
