"""What saving, loading and building a B-CNN need of JAX (`models.framework.Framework`)."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from ...backends.jax import layers
from ...contract import Spec, refuse
from ..plans import DTYPES
from .backbone import Linear

name = "jax"
module = nnx.Module
pool_class = object
module_name = "flax.nnx.Module"
channels_last = True
linear = "a flax.nnx.Linear"
read_pth = None


def check_dtype(op: str, dtype: str) -> None:
    """ValueError where JAX would silently make the dtype narrower."""
    if jax.dtypes.canonicalize_dtype(DTYPES[dtype]) != DTYPES[dtype]:
        remedy = "Call jax.config.update('jax_enable_x64', True) before anything else of JAX."
        received = f"{dtype} and jax_enable_x64=False"
        refuse(ValueError, op, "float64 needs JAX's 64-bit mode", received, remedy)


def layer(name: str, *, dtype: str, **arguments: Any) -> Any:
    made = getattr(layers, name)(**arguments)
    for _, node in nnx.iter_graph(made):
        if isinstance(node, nnx.Param):
            node.set_value(node[...].astype(DTYPES[dtype]))
    return made


def copied(module: nnx.Module | None) -> nnx.Module | None:
    return nnx.clone(module)


def unwrapped(model: Any) -> Any:
    return model


def is_linear(classifier: Any) -> bool:
    return type(classifier) in (Linear, nnx.Linear)


def spec(tensor: Any) -> Spec:
    return Spec(tensor[...].shape, tensor[...].dtype.name)


def from_numpy(array: np.ndarray) -> jax.Array:
    return jnp.asarray(array)


images = from_numpy


def to_numpy(array: Any) -> np.ndarray:
    return np.asarray(array[...])


def resample(*maps: jax.Array) -> tuple[jax.Array, ...]:
    if len(maps) == 1:
        return maps
    size = [min(sizes) for sizes in zip(*(x.shape[1:-1] for x in maps), strict=True)]
    return tuple(
        jax.image.resize(x, (x.shape[0], *size, x.shape[-1]), "linear", antialias=False)
        for x in maps
    )


def device() -> str:
    return jax.default_backend()


def numpy_function(model: Any, function: Callable[..., Any]) -> Callable[[np.ndarray], Any]:
    definition, state = nnx.split(model)
    compiled = jax.jit(lambda state, batch: function(nnx.merge(definition, state), batch))
    return lambda batch: jax.tree.map(np.asarray, compiled(state, batch))


def gradients(function: Callable[..., jax.Array], maps: Sequence[jax.Array]) -> tuple:
    """The gradients of the sum of ``function(*maps)``."""
    return jax.grad(lambda own: function(*own).sum())(tuple(maps))
