"""The element-wise signed square root."""

from typing import Any

import tensorflow as tf

from ...contract import EPS, check_signed_sqrt
from ._tensors import as_written, constant, required, spec, wide


@as_written
def signed_sqrt(g: Any, *, eps: float = EPS) -> tf.Tensor:
    """Signed square root with eps inside the root: ``sign(g) · √(|g| + eps)``.

    Shapes: g of any shape -> the same. Anything `tf.convert_to_tensor` takes.
    Gradient: ``1 / (2 √(|g| + eps))``.
    Edges: exactly 0 at ±0, where every derivative of every order is 0 too, eps = 0 included.
        NaN stays NaN. Half types are computed in float32.
    Raises: ValueError and TypeError as `bilinear.contract.check_signed_sqrt`.
    Source: Lin, RoyChowdhury, Maji, ICCV 2015, section 3.1.
    """
    g = required("signed_sqrt", "g", g)
    check_signed_sqrt(spec(g), eps)
    return tf.cast(rooted(wide(g), eps), g.dtype)


def rooted(g: tf.Tensor, eps: float) -> tf.Tensor:
    """The unchecked formula.

    The root is taken of a value that is never 0, so every derivative of that branch is finite
    and `where` can drop it. The branch kept at 0 is 0·g, not 0: it lets a NaN cotangent through
    (neither Grappler nor XLA folds 0·g away).
    """
    dead = tf.equal(tf.stop_gradient(g), constant(0, g))
    safe = tf.where(dead, constant(1, g), g)
    sign = tf.sign(tf.stop_gradient(safe))
    root = sign * tf.sqrt(sign * safe + constant(eps, g))  # sign · g is |g|
    return tf.where(dead, constant(0, g) * g, root)
