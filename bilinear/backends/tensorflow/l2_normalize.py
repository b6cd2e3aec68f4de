"""L2 normalization over the last axis, with a floor on the norm."""

from typing import Any

import tensorflow as tf

from ...contract import L2_EPS, Norm
from ...contract.arrays import LAST_AXIS, LAST_AXIS_REMEDY
from ...contract.pooling import check_l2_normalize
from ._tensors import constant, ensure, shape, spec, to_tensor, upcast, without_autograph


@without_autograph
def l2_normalize(z: Any, *, eps: float = L2_EPS, norm: Norm = "floor") -> tf.Tensor:
    """Scale each vector of the last axis to unit length, ``z / max(‖z‖₂, eps)``.

    `tf.math.l2_normalize` differs: its epsilon is a lower bound of the squared norm.
    Specification: `bilinear.reference.l2_normalize`. Cost: time and memory O(size of z).

    Args:
        z: (..., K) with K at least 1.
        eps: lower bound of the norm; a Python number, normal and positive.
        norm: "floor", or "added" for ``z / √(‖z‖₂² + eps)``.

    Returns: The shape and dtype of z.
    """
    op = "l2_normalize"
    z = to_tensor(op, "z", z)
    check_l2_normalize(spec(z), eps, norm)
    if not z.shape[-1:].is_fully_defined():
        filled = tf.reduce_any(shape(z)[-1:] > 0)  # a scalar has no last axis: False
        z = ensure(op, z, [(filled, LAST_AXIS, LAST_AXIS_REMEDY, [z])])
    return tf.cast(l2_normalize_unchecked(upcast(z), eps, norm), z.dtype)


def l2_normalize_unchecked(z: tf.Tensor, eps: float, norm: Norm = "floor") -> tf.Tensor:
    if norm == "added":
        return z / tf.sqrt(tf.reduce_sum(z * z, -1, keepdims=True) + constant(eps, z))
    return z / floor_norm(z, eps)


def floor_norm(z: tf.Tensor, eps: float) -> tf.Tensor:
    """Norms of the last axis, at least `eps`."""
    return floor_root(tf.reduce_sum(z * z, -1, keepdims=True), eps)


def floor_root(square: tf.Tensor, eps: float) -> tf.Tensor:
    """Root of a squared norm, at least `eps`.

    The root is computed from a value that is never 0, so that no derivative of a dropped branch is
    infinite. NaN is not <= eps, so it stays in the norm (XLA's maximum would drop it).
    """
    floor = constant(eps, square)
    short = tf.sqrt(tf.stop_gradient(square)) <= floor
    root = tf.sqrt(tf.where(short, constant(1, square), square))
    return tf.where(short, floor, root)
