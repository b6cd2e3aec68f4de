"""The Keras layers on each backend of Keras, each in a process of its own.

Keras has one backend for each process: that of the tests is TensorFlow.
"""

import functools
import importlib
import multiprocessing
import os
import warnings
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from bilinear import testing

from ..subjects import PRESENT

BACKENDS = tuple(name for name in PRESENT if "tensorflow" in PRESENT)
"""The backends of Keras that are tested."""


def on(backend: str, function: str, *arguments: Any, **options: Any) -> Any:
    """Call a function of `_keras_process` where Keras computes with `backend`."""
    if backend == "tensorflow":
        return _call(function, *arguments, **options)
    return _process(backend).submit(_call, function, *arguments, **options).result()


@functools.cache
def _process(backend: str) -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(1, context, initializer=_start, initargs=(backend,))


def _start(backend: str) -> None:
    os.environ["KERAS_BACKEND"] = backend
    importlib.import_module("tests.drivers._keras_process")
    warnings.simplefilter("error")
    # PyTorch's tensors do not know the argument NumPy 2 calls `__array__` with
    warnings.filterwarnings("ignore", "__array__ implementation doesn't accept a copy keyword")


def _call(function: str, *arguments: Any, **options: Any) -> Any:
    module = importlib.import_module("tests.drivers._keras_process")
    return getattr(module, function)(*arguments, **options)


def _layer(backend: str, *arguments: Any, mode: str = "eager", **options: Any) -> Any:
    assert mode == "eager"
    return on(backend, "layer", *arguments, **options)


KIT_DRIVERS = [
    testing.Driver(
        f"keras-{name}",
        testing.REFERENCE.forward,
        layer=functools.partial(_layer, name),
        layouts=("channels_last", "channels_first"),
    )
    for name in BACKENDS
    if name != "tensorflow"  # its driver tests the same layers, without another process
]
"""The drivers of the layers for the test kit; the operators are those of the backends."""
