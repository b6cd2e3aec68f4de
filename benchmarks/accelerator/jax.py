"""What the check needs of JAX: settings, times, memory, results of models."""

import contextlib
import functools
import importlib
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib import metadata
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from .. import jax as subject
from ..machine import processor

namespace = importlib.import_module("bilinear.jax")
LABEL = "jax"
POINTS = {"compiled": 1, "eager": 1}
"""Number of singular points that `parity` compares in each mode, the faster mode first."""
HALF = "weights and images bfloat16"
PRECISIONS = {"float32": "highest", "float32, TF32": "tensorfloat32"}


def name(device: str) -> str | None:
    """Name of the device, or None if JAX does not find it."""
    return processor() if device == "cpu" else subject.gpu()


def describe() -> str:
    """Versions of JAX and its libraries, and the memory that it may use on the device."""
    versions = ", ".join(f"{p} {metadata.version(p)}" for p in ("jax", "jaxlib", "flax"))
    limit = (jax.devices()[0].memory_stats() or {}).get("bytes_limit")
    return versions if limit is None else f"{versions}, {limit / 2**30:.0f} GiB"


def precision(arithmetic: str) -> AbstractContextManager[Any]:
    """Request full float32 products, or TensorFloat-32; other dtypes keep JAX's settings."""
    if arithmetic not in PRECISIONS:
        return contextlib.nullcontext()
    return jax.default_matmul_precision(PRECISIONS[arithmetic])


def no_synchronisation(device: str) -> AbstractContextManager[Any]:
    """Raise an error when a call moves values between the host and the device."""
    del device
    return jax.transfer_guard("disallow")


def wait(result: Any) -> None:
    jax.block_until_ready(result)


def seconds(run: Callable[[], Any], repeat: int) -> float:
    """Mean seconds of a call until its result is ready."""
    begin = time.perf_counter()
    for _ in range(repeat):
        result = run()
    jax.block_until_ready(result)
    return (time.perf_counter() - begin) / repeat


def peak(run: Callable[[], Any]) -> int | None:
    """Bytes of results and temporary arrays of a compiled call; None for an eager call.

    JAX cannot reset the peak in its memory statistics, so the compiler's figure is used.
    """
    if not (isinstance(run, functools.partial) and hasattr(run.func, "lower")):
        return None
    found = run.func.lower(*run.args).compile().memory_analysis()
    return found.output_size_in_bytes + found.temp_size_in_bytes - found.alias_size_in_bytes


def release_memory() -> None:
    """Do nothing: JAX frees arrays and compiled programs with their last reference."""


def devices(result: Any) -> set[str]:
    """The kinds of device that hold the arrays of a result."""
    found = {device.platform for leaf in jax.tree.leaves(result) for device in leaf.devices()}
    return {"cuda" if platform == "gpu" else platform for platform in found}


def copy(count: int, device: str) -> Callable[[], Any]:
    """A call that reads and writes `count` float32 values."""
    del device
    return functools.partial(jax.jit(jnp.negative), jnp.ones(count, "float32"))


def product(size: int, dtype: str, device: str) -> Callable[[], Any]:
    """A call that multiplies two matrices of random values."""
    del device
    a, b = (jax.random.normal(jax.random.key(i), (size, size), dtype) for i in range(2))
    return functools.partial(jax.jit(jnp.matmul), a, b)


def model(streams: list[str], dtype: str, gradient: bool, pixels: int, device: str) -> Callable:
    """A call that returns the logits, or the gradients of all parameters."""
    del device
    net = namespace.BCNN(streams[0], 3, backbone_b=(*streams, None)[1], dtype=dtype)
    net.train() if gradient else net.eval()
    graph, learned, rest = nnx.split(net, nnx.Param, ...)

    def logits(learned, rest, x):
        return nnx.merge(graph, learned, rest, copy=True)(x)

    run = jax.grad(lambda *given: logits(*given).sum()) if gradient else logits
    x = jnp.ones((2, pixels, pixels, 3), dtype)
    return functools.partial(jax.jit(run), learned, rest, x)
