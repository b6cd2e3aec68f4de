"""The element-wise signed square root."""

from typing import Any

import tensorflow as tf

from ...contract import EPS, Root
from ...contract.pooling import check_signed_sqrt
from ._tensors import as_written, constant, required, spec, wide


@as_written
def signed_sqrt(
    g: Any, *, eps: float = EPS, root: Root = "signed", slope_eps: float | None = None
) -> tf.Tensor:
    """Signed square root with eps inside the root: ``sign(g) · √(|g| + eps)``.

    Published forms: ``"shifted"`` is continuous, ``sign(g) · (√(|g| + eps) - √eps)``;
    ``"unsigned"`` is ``√(g + eps)``, for values that are not negative.

    Shapes: g of any shape -> the same. Anything `tf.convert_to_tensor` takes.
    Gradient: ``1 / (2 √(|g| + eps))``. With `slope_eps`, for eps = 0, a published backward pass
        stands in its place that is not the derivative, ``1 / (2 (√|g| + slope_eps))``; what it
        returns is a constant to further derivatives.
    Edges: exactly 0 at ±0, where every derivative of every order is 0 too, eps = 0 included.
        Not so at 0: the unsigned form, whose value is √eps and slope 1 / (2 √eps) (below -eps it
        is NaN), and the slope 1 / (2 slope_eps). NaN stays NaN. Half types are computed in
        float32.
    Cost: time, memory and output of the size of g.
    Raises: ValueError and TypeError as `bilinear.contract.pooling.check_signed_sqrt` and
        `bilinear.contract.options.check_root`.
    Source: Lin, RoyChowdhury, Maji, ICCV 2015, section 3.1.
    """
    op = "signed_sqrt"
    g = required(op, "g", g)
    check_signed_sqrt(spec(g), eps, root, slope_eps)
    return tf.cast(rooted(wide(g), eps, root, slope_eps), g.dtype)


def rooted(
    g: tf.Tensor, eps: float, root: Root = "signed", slope_eps: float | None = None
) -> tf.Tensor:
    """The unchecked formula.

    The root is taken of a value that is never 0, so every derivative of that branch is finite
    and `where` can drop it. The branch kept at 0 is 0·g, not 0: it lets a NaN cotangent through
    (neither Grappler nor XLA folds 0·g away).
    """
    if root == "unsigned":
        return tf.sqrt(g + constant(eps, g))
    if slope_eps is not None:
        still = tf.stop_gradient(g)
        slope = constant(0.5, g) / (tf.sqrt(tf.abs(still)) + constant(slope_eps, g))
        return rooted(still, eps) + slope * (g - still)
    dead = tf.equal(tf.stop_gradient(g), constant(0, g))
    safe = tf.where(dead, constant(1, g), g)
    sign = tf.sign(tf.stop_gradient(safe))
    magnitude = sign * tf.sqrt(sign * safe + constant(eps, g))  # sign · g is |g|
    if root == "shifted":  # √(|g| + eps) - √eps, which would cancel
        magnitude = safe / (sign * magnitude + constant(float(eps) ** 0.5, g))
    return tf.where(dead, constant(0, g) * g, magnitude)
