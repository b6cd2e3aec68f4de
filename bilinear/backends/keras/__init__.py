"""Keras layers, and the one place where they choose the operators of a framework."""

import functools
import importlib
from types import ModuleType

import keras

BACKENDS = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}
"""The backends of Keras with operators in this package, and their frameworks."""


def require_keras_backend(namespace: str, *names: str) -> None:
    """ImportError unless Keras computes with one of the backends `names`."""
    found = keras.backend.backend()
    if found in names:
        return
    frameworks, remedy = " or ".join(BACKENDS[name] for name in names), " or ".join(names)
    elsewhere = ", or import bilinear.keras" if found in BACKENDS else ""
    raise ImportError(
        f"bilinear.{namespace} needs Keras to compute with {frameworks}, but it was imported with "
        f"{found!r}; set the environment variable KERAS_BACKEND={remedy} before keras is "
        f"first imported{elsewhere}."
    )


@functools.cache
def operators() -> ModuleType:
    """The operators of the framework that Keras computes with."""
    return importlib.import_module(f"..{keras.backend.backend()}._keras", __package__)
