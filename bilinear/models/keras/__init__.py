"""B-CNNs of Keras, and the one place where they choose the functions of a framework."""

import functools
import importlib
from types import ModuleType

import keras


@functools.cache
def functions() -> ModuleType:
    """The functions of networks in the framework that Keras computes with."""
    return importlib.import_module(f"..{keras.backend.backend()}._keras", __package__)
