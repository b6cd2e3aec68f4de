"""The array functions of faulty formulas in each framework."""

import importlib
from types import SimpleNamespace
from typing import Any

HALF_PRECISION = ("float16", "bfloat16")


def arrays(framework: str) -> SimpleNamespace:
    """Return array functions with equal names and arguments in each framework."""
    return {"torch": _torch, "tensorflow": _tensorflow, "jax": _jax}[framework]()


def _torch() -> SimpleNamespace:
    torch = importlib.import_module("torch")
    return SimpleNamespace(
        name="torch",
        array=lambda x: x,
        stop=lambda x: x.detach(),
        where=torch.where,
        sqrt=torch.sqrt,
        abs=torch.abs,
        sign=torch.sign,
        isnan=torch.isnan,
        shape=lambda x: tuple(x.shape),
        dtype=lambda x: str(x.dtype).removeprefix("torch."),
        cast=lambda x, dtype: x.to(getattr(torch, dtype)),
        sum=lambda x, axis, keepdims=False: x.sum(axis, keepdim=keepdims),
        any=lambda x, axis: x.any(axis),
        max=lambda x, axis: x.amax(axis),
        transpose=lambda x, axes: x.permute(axes),
        matmul=torch.matmul,
        reshape=torch.reshape,
        concat=torch.cat,
        zeros_like=torch.zeros_like,
        eye=lambda n, x: torch.eye(n, dtype=x.dtype, device=x.device),
        eigh=torch.linalg.eigh,
        relu=torch.relu,
    )


def _tensorflow() -> SimpleNamespace:
    tf = importlib.import_module("tensorflow")
    return SimpleNamespace(
        name="tensorflow",
        array=tf.convert_to_tensor,
        stop=tf.stop_gradient,
        where=lambda c, a, b: tf.where(c, *_alike(tf, a, b)),
        sqrt=tf.sqrt,
        abs=tf.abs,
        sign=tf.sign,
        isnan=tf.math.is_nan,
        shape=lambda x: tuple(x.shape),
        dtype=lambda x: x.dtype.name,
        cast=tf.cast,
        sum=lambda x, axis, keepdims=False: tf.reduce_sum(x, axis, keepdims=keepdims),
        any=tf.reduce_any,
        max=tf.reduce_max,
        transpose=tf.transpose,
        matmul=tf.matmul,
        reshape=tf.reshape,
        concat=tf.concat,
        zeros_like=tf.zeros_like,
        eye=lambda n, x: tf.eye(n, dtype=x.dtype),
        eigh=tf.linalg.eigh,
        relu=tf.nn.relu,
    )


def _alike(tf: Any, a: Any, b: Any) -> tuple[Any, Any]:
    """Convert Python scalars to constants with the dtype of the other argument."""
    dtype = a.dtype if hasattr(a, "dtype") else b.dtype
    return tf.convert_to_tensor(a, dtype), tf.convert_to_tensor(b, dtype)


def _jax() -> SimpleNamespace:
    jax = importlib.import_module("jax")
    jnp = jax.numpy
    return SimpleNamespace(
        name="jax",
        array=jnp.asarray,
        stop=jax.lax.stop_gradient,
        where=jnp.where,
        sqrt=jnp.sqrt,
        abs=jnp.abs,
        sign=jnp.sign,
        isnan=jnp.isnan,
        shape=lambda x: tuple(x.shape),
        dtype=lambda x: x.dtype.name,
        cast=lambda x, dtype: x.astype(dtype),
        sum=lambda x, axis, keepdims=False: jnp.sum(x, axis=axis, keepdims=keepdims),
        any=lambda x, axis: jnp.any(x, axis=axis),
        max=lambda x, axis: jnp.max(x, axis=axis),
        transpose=jnp.transpose,
        matmul=lambda a, b: jnp.matmul(a, b, precision="highest"),
        reshape=jnp.reshape,
        concat=jnp.concatenate,
        zeros_like=jnp.zeros_like,
        eye=lambda n, x: jnp.eye(n, dtype=x.dtype),
        eigh=jnp.linalg.eigh,
        relu=lambda x: jnp.maximum(x, 0),
    )
