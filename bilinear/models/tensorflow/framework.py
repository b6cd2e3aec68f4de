"""How `models.inference` computes with TensorFlow; `models.keras.framework` has the rest."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf


def device() -> str:
    """Where `numpy_function` computes."""
    return "gpu" if tf.config.get_visible_devices("GPU") else "cpu"  # does not start TensorFlow


def numpy_function(model: Any, function: Callable[..., Any]) -> Callable[[np.ndarray], Any]:
    """``function(model, images)`` of NumPy arrays, channels last, for evaluation."""
    compiled = tf.function(lambda batch: function(model, batch))
    return lambda batch: tf.nest.map_structure(lambda t: t.numpy(), compiled(tf.constant(batch)))


def gradients(function: Callable[..., tf.Tensor], maps: Sequence[tf.Tensor]) -> tuple:
    """The gradients of the sum of ``function(*maps)``."""
    with tf.GradientTape() as tape:
        tape.watch(maps)
        total = tf.reduce_sum(function(*maps))
    return tuple(tape.gradient(total, list(maps)))
