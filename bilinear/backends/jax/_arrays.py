"""Steps that all JAX operators share: describe arrays, upcast, select locations, multiply."""

from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from ...contract import ACCUMULATION, Spec, check_tensor

ArrayLike: TypeAlias = jax.Array | np.ndarray


def spec(op: str, name: str, x: ArrayLike) -> Spec:
    """The shape and dtype of `x`, as JAX will see it."""
    if not isinstance(x, (jax.Array, np.ndarray)):
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


def upcast(x: ArrayLike) -> jax.Array:
    """`x` in the dtype that its sums, roots and norms are computed in."""
    x = jnp.asarray(x)
    return x.astype(ACCUMULATION[x.dtype.name])


def round_to(x: ArrayLike, result: jax.Array) -> jax.Array:
    """`result` in the dtype of `x`."""
    return result.astype(jnp.asarray(x).dtype)


def select_locations(x: ArrayLike, mask: ArrayLike | None) -> jax.Array:
    """`x` (N, L, C) in the accumulation dtype, 0 where the mask is False (0 · NaN would be NaN)."""
    if mask is not None:
        x = jnp.where(jnp.asarray(mask)[:, :, None], x, 0.0)
    return upcast(x)


def select_streams(x, y, mask) -> tuple[jax.Array, jax.Array]:
    """`select_locations` of both streams; one stream is both."""
    x = select_locations(x, mask)
    return x, x if y is None else select_locations(y, mask)


def count_locations(x: jax.Array, mask: ArrayLike | None, dtype: str = "") -> jax.Array:
    """Number of valid locations of each sample, at least 1: (N, 1), or (1, 1) without a mask."""
    dtype = dtype or x.dtype.name
    if mask is None:
        return jnp.asarray(x.shape[1], dtype).reshape(1, 1)  # an array: L may be symbolic
    return jnp.maximum(jnp.sum(mask, axis=1, keepdims=True, dtype=dtype), 1.0)


def flatten_matrices(g: jax.Array) -> jax.Array:
    """Matrices (N, C, D) as rows (N, C·D)."""
    return g.reshape(g.shape[0], g.shape[1] * g.shape[2])  # explicit sizes: N may be 0


def matmul(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.matmul(a, b, precision=precision())


def einsum(rule: str, a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.einsum(rule, a, b, precision=precision())


def precision() -> jax.lax.Precision | None:
    """Full precision, or None where the user set one; JAX's default rounds float32 on GPUs."""
    return jax.lax.Precision.HIGHEST if user_precision() is None else None


def user_precision() -> str | None:
    """JAX's setting for products, None where the user did not set one."""
    return jax.config.jax_default_matmul_precision  # type: ignore[attr-defined]
