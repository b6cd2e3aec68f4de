"""The element-wise signed square root."""

import jax
import jax.numpy as jnp

from ...contract import EPS, check_signed_sqrt
from ._arrays import ArrayLike, spec, wide


def signed_sqrt(g: ArrayLike, *, eps: float = EPS) -> jax.Array:
    """Signed square root with eps inside the root: ``sign(g) · √(|g| + eps)``.

    Shapes: g of any shape -> the same.
    Gradient: ``1 / (2 √(|g| + eps))``.
    Edges: exactly 0 at ±0, where every derivative of every order is 0 too, eps = 0 included.
        NaN stays NaN. Half types are computed in float32.
    Raises: ValueError and TypeError as `bilinear.contract.check_signed_sqrt`.
    Source: Lin, RoyChowdhury, Maji, ICCV 2015, section 3.1.
    """
    check_signed_sqrt(spec("signed_sqrt", "g", g), eps)
    g = jnp.asarray(g)
    return rooted(wide(g), eps).astype(g.dtype)


def rooted(g: jax.Array, eps: float) -> jax.Array:
    """The unchecked formula.

    The root is taken of a value that is never 0, so every derivative of that branch is finite
    and `where` can drop it. The branch kept at 0 is 0·g, not 0: it lets a NaN cotangent through.
    """
    dead = g == 0
    safe = jnp.where(dead, 1.0, g)
    root = jnp.sqrt(jnp.abs(safe) + float(eps))  # a NumPy eps would widen float32 to float64
    return jnp.where(dead, 0.0 * g, jnp.sign(safe) * root)
