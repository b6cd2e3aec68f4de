"""The layers with the batch sharded between two devices, and the weights replicated or sharded.

JAX and TensorFlow need the number of CPU devices before they start, and PyTorch has one process per
device, so each framework runs in child processes.
"""

import functools
import importlib
import multiprocessing
import os
import warnings
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np

from bilinear import testing

from ..subjects import PRESENT

ENGINES = {
    "jax-explicit": "jax",
    "jax-shard_map": "jax",
    "tensorflow-mirrored": "tensorflow",
    "torch-ddp": "torch",
    "torch-fsdp2": "torch",
}
"""The engines that shard a batch, and their frameworks."""


@functools.cache
def _processes(framework: str) -> list[ProcessPoolExecutor]:
    context, count = multiprocessing.get_context("spawn"), 2 if framework == "torch" else 1
    store = os.path.join(os.environ["BILINEAR_TEST_CACHE"], f"processes-{os.getpid()}")
    return [
        ProcessPoolExecutor(1, context, initializer=_start, initargs=(framework, rank, store))
        for rank in range(count)
    ]


def _start(framework: str, rank: int, store: str) -> None:
    importlib.import_module(f"tests.drivers._{framework}_sharding").start(rank, store)
    warnings.simplefilter("error")


def _call(framework: str, function: str, *arguments: Any) -> Any:
    module = importlib.import_module(f"tests.drivers._{framework}_sharding")
    return getattr(module, function)(*arguments)


def on_each(framework: str, function: str, *arguments: Any) -> list[Any]:
    """Return what a function of `_<framework>_sharding` returns in each process."""
    processes = _processes(framework)
    calls = [process.submit(_call, framework, function, *arguments) for process in processes]
    return [call.result() for call in calls]


def _layer(engine: str, name: str, cotangent, maps, *, mask=None, parameters=None, **_: Any):
    """Return descriptors and gradients; each process returns those of its part of the batch."""
    arguments = engine, name, cotangent, maps, mask, parameters or {}
    results, gradients = zip(*on_each(ENGINES[engine], "layer", *arguments), strict=True)
    of_maps, of_weights = zip(*gradients, strict=True)
    for others in of_weights[1:]:
        assert all(map(np.array_equal, others, of_weights[0])), "weights get different gradients"
    joined = map(np.concatenate, zip(*of_maps, strict=True))
    return np.concatenate(results), (*joined, *of_weights[0])


KIT_DRIVERS = {
    engine: testing.Driver(
        engine,
        testing.REFERENCE.forward,
        layer=functools.partial(_layer, engine),
        dtypes=("float32", "bfloat16") if framework == "jax" else ("float32",),
    )
    for engine, framework in ENGINES.items()
    if framework in PRESENT
}
"""The drivers of the layers for the test kit. PyTorch and TensorFlow round half-precision gradients
of weights on each device before they add them, so the bounds of one device do not hold."""
