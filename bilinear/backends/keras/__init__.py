"""Keras layers, and the one place where they choose the operators of a framework."""

import functools
from types import ModuleType

import keras


def require_keras_backend() -> None:
    """ImportError unless Keras computes with TensorFlow."""
    name = keras.backend.backend()
    if name != "tensorflow":
        raise ImportError(
            "bilinear.tensorflow needs Keras to compute with TensorFlow, but it was imported with "
            f"{name!r}; set the environment variable KERAS_BACKEND=tensorflow before keras is "
            "first imported."
        )


@functools.cache
def operators() -> ModuleType:
    """The operators of the framework that Keras computes with."""
    require_keras_backend()
    from ..tensorflow import _keras  # noqa: PLC0415 - only once Keras computes with it

    return _keras
