"""The element-wise signed square root."""

import jax
import jax.numpy as jnp

from ...contract import EPS, Root
from ...contract.pooling import check_signed_sqrt
from ._arrays import ArrayLike, round_to, spec, upcast


def signed_sqrt(
    g: ArrayLike, *, eps: float = EPS, root: Root = "signed", slope_eps: float | None = None
) -> jax.Array:
    """Take the signed square root of each entry: ``sign(g) · √(|g| + eps)``.

    Args:
        g: array of any shape.
        eps: added inside the root, at least 0.
        root: ``"signed"``; ``"shifted"``, continuous at 0; or ``"unsigned"``, for values >= 0.
        slope_eps: None, or positive for a published backward pass of ``"signed"`` with ``eps=0``.

    Returns: Array of the shape of g.
    Cost: time and memory of the size of g.
    Specification: `bilinear.reference.signed_sqrt`.
    """
    check_signed_sqrt(spec("signed_sqrt", "g", g), eps, root, slope_eps)
    return round_to(g, signed_sqrt_unchecked(upcast(g), eps, root, slope_eps))


def signed_sqrt_unchecked(
    g: jax.Array, eps: float, root: Root = "signed", slope_eps: float | None = None
) -> jax.Array:
    """The formula, in the accumulation dtype.

    The root is taken of a value that is never 0, so that each derivative of that branch is finite
    and `where` can drop it. The branch for 0 is 0·g, not 0: a NaN cotangent passes through it.
    """
    if root == "unsigned":
        return jnp.sqrt(g + float(eps))
    if slope_eps is not None:
        constant = jax.lax.stop_gradient(g)
        slope = 0.5 / (jnp.sqrt(jnp.abs(constant)) + float(slope_eps))
        return signed_sqrt_unchecked(constant, eps) + slope * (g - constant)
    zero = g == 0
    safe = jnp.where(zero, 1.0, g)
    magnitude = jnp.sqrt(jnp.abs(safe) + float(eps))  # a NumPy eps would make float32 float64
    if root == "shifted":  # √(|g| + eps) - √eps without cancellation
        magnitude = jnp.abs(safe) / (magnitude + float(eps) ** 0.5)
    return jnp.where(zero, 0.0 * g, jnp.sign(safe) * magnitude)
