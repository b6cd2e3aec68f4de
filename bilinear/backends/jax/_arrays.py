"""What every JAX operator does around its formula: describe, widen, multiply."""

from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from ...contract import ACCUMULATION, Spec, check_tensor

ArrayLike: TypeAlias = jax.Array | np.ndarray


def spec(op: str, name: str, x: ArrayLike) -> Spec:
    """The contract's view of `x`, as JAX will see it."""
    check_tensor(op, name, x, (jax.Array, np.ndarray), "JAX or NumPy array")
    dtype = x.dtype if isinstance(x, jax.Array) else jax.dtypes.canonicalize_dtype(x.dtype)
    return Spec(x.shape, dtype.name)


def specs(
    op: str, x: ArrayLike, y: ArrayLike | None, mask: ArrayLike | None
) -> tuple[Spec, Spec | None, Spec | None]:
    """Those of a pooling operator; only `y` and `mask` may be None."""
    return (
        spec(op, "x", x),
        None if y is None else spec(op, "y", y),
        None if mask is None else spec(op, "mask", mask),
    )


def wide(x: jax.Array) -> jax.Array:
    """`x` in the dtype its sums, roots and norms are computed in."""
    return x.astype(ACCUMULATION[x.dtype.name])


def matmul(a: jax.Array, b: jax.Array) -> jax.Array:
    # HIGHEST: a GPU's or TPU's default would round float32 products to fewer digits
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)
