"""The element-wise signed square root."""

from typing import Any

import tensorflow as tf

from ...contract import EPS, Root
from ...contract.pooling import check_signed_sqrt
from ._tensors import constant, spec, to_tensor, upcast, without_autograph


@without_autograph
def signed_sqrt(
    g: Any, *, eps: float = EPS, root: Root = "signed", slope_eps: float | None = None
) -> tf.Tensor:
    """Signed square root of each entry, ``sign(g) · √(|g| + eps)``.

    Specification: `bilinear.reference.signed_sqrt`. Cost: time and memory O(size of g).

    Args:
        g: tensor of any shape.
        eps: added inside the signed square root; a Python number, 0 or normal and positive.
        root: "signed", or the published variants "shifted" and "unsigned".
        slope_eps: None, or positive for a published backward pass of root="signed" with eps=0.

    Returns: The shape and dtype of g.
    """
    g = to_tensor("signed_sqrt", "g", g)
    check_signed_sqrt(spec(g), eps, root, slope_eps)
    return tf.cast(signed_sqrt_unchecked(upcast(g), eps, root, slope_eps), g.dtype)


def signed_sqrt_unchecked(
    g: tf.Tensor, eps: float, root: Root = "signed", slope_eps: float | None = None
) -> tf.Tensor:
    """The unchecked formula.

    The root is computed from a value that is never 0, so every derivative of that branch is
    finite and `where` can drop it. At 0 the result is 0·g, not 0, so that a NaN cotangent passes
    through (neither Grappler nor XLA folds 0·g).
    """
    if root == "unsigned":
        return tf.sqrt(g + constant(eps, g))
    if slope_eps is not None:
        still = tf.stop_gradient(g)
        slope = constant(0.5, g) / (tf.sqrt(tf.abs(still)) + constant(slope_eps, g))
        return signed_sqrt_unchecked(still, eps) + slope * (g - still)
    dead = tf.equal(tf.stop_gradient(g), constant(0, g))
    safe = tf.where(dead, constant(1, g), g)
    sign = tf.sign(tf.stop_gradient(safe))
    magnitude = sign * tf.sqrt(sign * safe + constant(eps, g))  # sign · g is |g|
    if root == "shifted":  # √(|g| + eps) - √eps, which would cancel
        magnitude = safe / (sign * magnitude + constant(float(eps) ** 0.5, g))
    return tf.where(dead, constant(0, g) * g, magnitude)
