"""The element-wise signed square root."""

import jax
import jax.numpy as jnp

from ...contract import EPS, Root
from ...contract.pooling import check_signed_sqrt
from ._arrays import ArrayLike, spec, wide


def signed_sqrt(
    g: ArrayLike, *, eps: float = EPS, root: Root = "signed", slope_eps: float | None = None
) -> jax.Array:
    """Signed square root with eps inside the root: ``sign(g) · √(|g| + eps)``.

    Published forms: ``"shifted"`` is continuous, ``sign(g) · (√(|g| + eps) - √eps)``;
    ``"unsigned"`` is ``√(g + eps)``, for values that are not negative.

    Shapes: g of any shape -> the same.
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
    received = spec(op, "g", g)
    check_signed_sqrt(received, eps, root, slope_eps)
    g = jnp.asarray(g)
    return rooted(wide(g), eps, root, slope_eps).astype(g.dtype)


def rooted(
    g: jax.Array, eps: float, root: Root = "signed", slope_eps: float | None = None
) -> jax.Array:
    """The unchecked formula.

    The root is taken of a value that is never 0, so every derivative of that branch is finite
    and `where` can drop it. The branch kept at 0 is 0·g, not 0: it lets a NaN cotangent through.
    """
    if root == "unsigned":
        return jnp.sqrt(g + float(eps))
    if slope_eps is not None:
        still = jax.lax.stop_gradient(g)
        slope = 0.5 / (jnp.sqrt(jnp.abs(still)) + float(slope_eps))
        return rooted(still, eps) + slope * (g - still)
    dead = g == 0
    safe = jnp.where(dead, 1.0, g)
    magnitude = jnp.sqrt(jnp.abs(safe) + float(eps))  # a NumPy eps would widen float32 to float64
    if root == "shifted":  # √(|g| + eps) - √eps, which would cancel
        magnitude = jnp.abs(safe) / (magnitude + float(eps) ** 0.5)
    return jnp.where(dead, 0.0 * g, jnp.sign(safe) * magnitude)
