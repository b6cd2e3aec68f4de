"""What saving, loading and building a B-CNN need of JAX (`models.framework.Framework`)."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from ...backends.jax import _arrays, layers
from ...contract import Spec
from ..plans import DTYPES
from .backbone import Linear
from .feature_maps import check_dtype, resample  # noqa: F401 - of the protocol

name = "jax"
module = nnx.Module
pool_class = object
module_name = "flax.nnx.Module"
channels_last = True
linear = "a flax.nnx.Linear"
read_pth = None


def layer(name: str, *, dtype: str, **arguments: Any) -> Any:
    made = getattr(layers, name)(**arguments)
    for _, node in nnx.iter_graph(made):
        if isinstance(node, nnx.Param):
            set_value(node, node[...].astype(DTYPES[dtype]))
    return made


def get_value(variable: Any) -> jax.Array:
    return variable.get_value() if hasattr(nnx.Variable, "get_value") else variable.value


def set_value(variable: Any, value: jax.Array) -> None:
    """Replace the value, which ``variable[...] = value`` would read, also after its donation."""
    if hasattr(nnx.Variable, "set_value"):
        variable.set_value(value)
    else:  # Flax 0.12.0
        variable.value = value


def copied(module: nnx.Module | None) -> nnx.Module | None:
    return nnx.clone(module)


def unwrapped(model: Any) -> Any:
    return model


def is_linear(classifier: Any) -> bool:
    return type(classifier) in (Linear, nnx.Linear)


def spec(tensor: Any) -> Spec:
    return Spec(tensor[...].shape, tensor[...].dtype.name)


def input_spec(name: str, x: Any) -> Spec:
    return _arrays.spec("BCNN", name, x)


def from_numpy(array: np.ndarray) -> jax.Array:
    return jnp.asarray(array)


images = from_numpy


def to_numpy(array: Any) -> np.ndarray:
    return np.asarray(array[...])


def device() -> str:
    return jax.default_backend()


def numpy_function(model: Any, function: Callable[..., Any]) -> Callable[[np.ndarray], Any]:
    definition, state = nnx.split(model)
    compiled = jax.jit(lambda state, batch: function(nnx.merge(definition, state), batch))
    return lambda batch: jax.tree.map(np.asarray, compiled(state, batch))


def gradients(function: Callable[..., jax.Array], maps: Sequence[jax.Array]) -> tuple:
    """The gradients of the sum of ``function(*maps)``."""
    return jax.grad(lambda own: function(*own).sum())(tuple(maps))
