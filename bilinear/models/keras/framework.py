"""What saving, loading and building a B-CNN need of Keras (`models.framework.Framework`)."""

from typing import Any

import keras
import numpy as np

from ...backends.keras import layers, operators
from ...backends.keras.layers.democratic_pool import inner_dtype
from ...contract import Spec
from . import functions

name = "tensorflow"
module = keras.layers.Layer
pool_class = keras.layers.Layer
module_name = "keras.layers.Layer"
channels_last = True
linear = "a keras.layers.Dense that is built and has no activation"
read_pth = None


def check_dtype(op: str, dtype: str) -> None:
    functions().check_dtype(op, dtype)


def layer(name: str, *, dtype: Any, called: str = "pool", **arguments: Any) -> keras.layers.Layer:
    """Make a layer with the dtype policy `dtype`, under the Keras name `called`."""
    if "pool" in arguments:  # which was made as if it were the pool of the model itself
        arguments["pool"] = _accumulating(arguments["pool"], dtype)
    return getattr(layers, name)(**arguments, data_format="channels_last", dtype=dtype, name=called)


def _accumulating(pool: keras.layers.Layer, policy: Any) -> keras.layers.Layer:
    """The inner pool with the dtype of its sums, unless its weights are of the file's dtype."""
    dtype = inner_dtype(policy)
    if pool.trainable_weights and pool.variable_dtype != dtype:
        return pool
    return type(pool).from_config(pool.get_config() | {"dtype": dtype})


def copied(module: keras.layers.Layer | None) -> keras.layers.Layer | None:
    """A layer of the same architecture; its variables are the file's to fill."""
    if module is None:
        return None
    own = not type(module).get_config.__module__.startswith("keras.")  # `clone_model` ignores it
    if isinstance(module, keras.Model) and not own:
        return keras.models.clone_model(module)
    return type(module).from_config(module.get_config())


def unwrapped(model: Any) -> Any:
    return model


def is_linear(classifier: Any) -> bool:
    dense = type(classifier) is keras.layers.Dense and classifier.built
    return dense and classifier.activation is keras.activations.linear


def spec(tensor: keras.Variable) -> Spec:
    return Spec(tensor.shape, tensor.dtype)


def input_spec(name: str, x: Any) -> Spec:
    return operators().spec("BCNN", name, x)


def from_numpy(array: np.ndarray) -> Any:
    wide = array.astype(np.float32) if array.dtype.name == "bfloat16" else array
    return keras.ops.convert_to_tensor(wide, array.dtype.name)


images = from_numpy


def to_numpy(tensor: Any) -> np.ndarray:
    if keras.backend.backend() == "tensorflow" and hasattr(tensor, "numpy"):
        return np.asarray(tensor.numpy())  # Keras' copy of a tf.Variable makes NumPy warn
    return np.asarray(keras.ops.convert_to_numpy(tensor))


def resample(*maps: Any) -> tuple[Any, ...]:
    return functions().resample(*maps)


def pool_variables(pool: keras.layers.Layer) -> dict[str, keras.Variable]:
    """Name -> variable of a pool; variables of equal name are preceded by their position."""
    inner = getattr(pool, "pool", None)
    within = pool_variables(inner) if isinstance(inner, keras.layers.Layer) else {}
    theirs = {id(variable) for variable in within.values()}
    own = [variable for variable in pool.weights if id(variable) not in theirs]
    names = [variable.name for variable in own]
    if len(set(names)) < len(names):
        names = [f"{position}.{name}" for position, name in enumerate(names)]
    inside = {f"pool.{name}": variable for name, variable in within.items()}
    return dict(zip(names, own, strict=True)) | inside
