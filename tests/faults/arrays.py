"""The array functions of faulty formulas in each framework."""

import importlib
from types import SimpleNamespace
from typing import Any

HALF_PRECISION = ("float16", "bfloat16")
ALIKE = ("sqrt", "abs", "sign", "reshape", "zeros_like")
"""Functions with the same name and arguments in every framework."""


def arrays(framework: str) -> SimpleNamespace:
    """Return array functions with equal names and arguments in each framework."""
    module = importlib.import_module("jax.numpy" if framework == "jax" else framework)
    special = {"torch": _torch, "tensorflow": _tensorflow, "jax": _jax}[framework](module)
    return SimpleNamespace(
        name=framework,
        # TensorFlow also traces without a rank
        shape=lambda x: (None,) * 3 if getattr(x.shape, "rank", 0) is None else tuple(x.shape),
        eye=lambda n, x: module.eye(n, dtype=x.dtype),
        eigh=module.linalg.eigh,
        **{name: getattr(module, name) for name in ALIKE},
        **special,
    )


def _torch(torch: Any) -> dict[str, Any]:
    return {
        "array": lambda x: x,
        "stop": lambda x: x.detach(),
        "where": torch.where,
        "isnan": torch.isnan,
        "dtype": lambda x: str(x.dtype).removeprefix("torch."),
        "cast": lambda x, dtype: x.to(getattr(torch, dtype)),
        "sum": torch.sum,
        "any": torch.any,
        "max": torch.amax,
        "transpose": torch.permute,
        "matmul": torch.matmul,
        "concat": torch.concat,
        "relu": torch.relu,
    }


def _tensorflow(tf: Any) -> dict[str, Any]:
    def where(condition: Any, a: Any, b: Any) -> Any:
        """Convert Python scalars to constants with the dtype of the other argument."""
        dtype = a.dtype if hasattr(a, "dtype") else b.dtype
        return tf.where(condition, tf.convert_to_tensor(a, dtype), tf.convert_to_tensor(b, dtype))

    return {
        "array": tf.convert_to_tensor,
        "stop": tf.stop_gradient,
        "where": where,
        "isnan": tf.math.is_nan,
        "dtype": lambda x: x.dtype.name,
        "cast": tf.cast,
        "sum": tf.reduce_sum,
        "any": tf.reduce_any,
        "max": tf.reduce_max,
        "transpose": tf.transpose,
        "matmul": tf.matmul,
        "concat": tf.concat,
        "relu": tf.nn.relu,
    }


def _jax(jnp: Any) -> dict[str, Any]:
    jax = importlib.import_module("jax")
    return {
        "array": jnp.asarray,
        "stop": jax.lax.stop_gradient,
        "where": jnp.where,
        "isnan": jnp.isnan,
        "dtype": lambda x: x.dtype.name,
        "cast": lambda x, dtype: x.astype(dtype),
        "sum": jnp.sum,
        "any": jnp.any,
        "max": jnp.max,
        "transpose": jnp.transpose,
        "matmul": lambda a, b: jnp.matmul(a, b, precision="highest"),
        "concat": jnp.concatenate,
        "relu": jax.nn.relu,
    }
