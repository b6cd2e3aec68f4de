"""What saving, loading and building a B-CNN need of Keras (`models.framework.Framework`)."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ...backends.keras import layers
from ...backends.keras.layers.democratic_pool import inner_dtype
from ...backends.tensorflow._tensors import sizes, upcast
from ...contract import Spec

name = "tensorflow"
module = keras.layers.Layer
pool_class = keras.layers.Layer
module_name = "keras.layers.Layer"
channels_last = True
linear = "a keras.layers.Dense that is built and has no activation"
read_pth = None


def check_dtype(op: str, dtype: str) -> None:
    """TensorFlow has every dtype of a model."""


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
    if isinstance(module, keras.Model):
        return keras.models.clone_model(module)
    return None if module is None else type(module).from_config(module.get_config())


def unwrapped(model: Any) -> Any:
    return model


def is_linear(classifier: Any) -> bool:
    dense = type(classifier) is keras.layers.Dense and classifier.built
    return dense and classifier.activation is keras.activations.linear


def spec(tensor: keras.Variable) -> Spec:
    return Spec(tensor.shape, tensor.dtype)


def from_numpy(array: np.ndarray) -> tf.Tensor:
    return tf.constant(array)


images = from_numpy


def to_numpy(tensor: Any) -> np.ndarray:
    return np.asarray(tensor.numpy() if hasattr(tensor, "numpy") else tensor)


def resample(*maps: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """All maps at the smallest extent of each axis: half-pixel centres, no antialiasing."""
    if len(maps) == 1:
        return maps
    for axis in (1, 2):
        extents = [sizes(x)[axis] for x in maps]
        if all(isinstance(extent, int) for extent in extents):
            least = min(extents)
            pairs = zip(maps, extents, strict=True)
            maps = tuple(x if old == least else _shrunk(x, axis, old, least) for x, old in pairs)
        else:
            least = tf.reduce_min(tf.stack(extents))
            maps = tuple(_shrunk(x, axis, old, least) for x, old in zip(maps, extents, strict=True))
    return maps


def _shrunk(x: tf.Tensor, axis: int, old: Any, new: Any) -> tf.Tensor:
    """Resample an axis; `tf.image.resize` is not used because it returns float32 for every dtype.

    Position i is at ``(i + ½) · old / new − ½`` of the old axis, between two of its positions.
    """
    doubled = (2 * tf.range(new) + 1) * old - new  # 2 · new times the position, exactly
    low = doubled // (2 * new)
    high = tf.minimum(low + 1, old - 1)
    values = upcast(x)
    weight = tf.cast(doubled % (2 * new), values.dtype) / tf.cast(2 * new, values.dtype)
    weight = tf.reshape(weight, [-1, 1] if axis == 2 else [-1, 1, 1])
    mixed = (1 - weight) * tf.gather(values, low, axis=axis)
    return tf.cast(mixed + weight * tf.gather(values, high, axis=axis), x.dtype)


def device() -> str:
    return "gpu" if tf.config.list_logical_devices("GPU") else "cpu"


def numpy_function(model: Any, function: Callable[..., Any]) -> Callable[[np.ndarray], Any]:
    compiled = tf.function(lambda batch: function(model, batch))
    return lambda batch: tf.nest.map_structure(lambda t: t.numpy(), compiled(tf.constant(batch)))


def gradients(function: Callable[..., tf.Tensor], maps: Sequence[tf.Tensor]) -> tuple:
    """The gradients of the sum of ``function(*maps)``."""
    with tf.GradientTape() as tape:
        tape.watch(maps)
        total = tf.reduce_sum(function(*maps))
    return tuple(tape.gradient(total, list(maps)))


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
