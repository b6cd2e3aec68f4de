"""Processes that `jax.distributed` connects."""

import atexit
import functools
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from ..._require import require

require("jax")

import jax
import jax.experimental
import numpy as np
from jax import distributed
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ...contract import refuse
from . import Processes, keep_sigterm, lost_process

HEARTBEAT = 20
"""Seconds without a sign of life of a process, after which JAX ends the others. Most often they
notice its end at once, because its connections close."""
LONGEST_WAIT = 86_400
"""Seconds. Process 0 can compute a feature cache for hours while the others wait."""
TOGETHER = 5_000
"""Milliseconds within which all processes raise an error that they share."""


@contextmanager
def join(device: str | None) -> Iterator[Processes]:
    """Arrays pass through gloo on CPUs. Args: `device` is not used, JAX has its own settings."""
    number = {
        name: os.environ.get(f"JAX_{name.upper()}") for name in ("num_processes", "process_id")
    }
    _check_environment(number)
    given: Any = {name: int(value) for name, value in number.items() if value is not None}
    with keep_sigterm():
        distributed.initialize(heartbeat_timeout_seconds=HEARTBEAT, **given)
    rank, count = jax.process_index(), jax.process_count()
    devices = {device.process_index: device for device in reversed(_cpus())}
    mesh = Mesh(np.array([devices[k] for k in range(count)]), ("process",))
    from jax._src.distributed import global_state  # noqa: PLC0415 - its key-value store is private

    client: Any = global_state.client

    def add(values: np.ndarray) -> np.ndarray:
        with connected():
            return _add(mesh, np.asarray(values))

    def fails_first() -> bool:
        try:
            client.key_value_set("bilinear: failed", f"{rank}")
        except Exception as error:  # another process was first, or process 0 has ended
            return rank == 0 and "ALREADY_EXISTS" not in f"{error}"
        return True

    with without_stdout():
        add(np.zeros(1))
    try:
        yield Processes(rank, count, add, fails_first)
    except BaseException as error:
        lost = any(isinstance(e, ConnectionError) for e in (error, error.__cause__))
        if lost or not _all_fail(client):
            atexit.register(_exit, 130 if isinstance(error, KeyboardInterrupt) else 2)
        else:
            distributed.shutdown()
        raise
    distributed.shutdown()


def _check_environment(number: dict[str, str | None]) -> None:
    names = "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"
    values = [os.environ.get(names[0]), *number.values()]
    is_given = all(values) and all(f"{value}".isdecimal() for value in number.values())
    if number["num_processes"] and not is_given:
        invariant = f"{', '.join(names)} must be an address with a port and two numbers"
        remedy = "Set them for each process, or use srun or mpirun and set none."
        refuse(ValueError, "train", invariant, f"{values}", remedy)


def _cpus() -> list[Any]:
    """CPU devices, also on machines with GPUs: gloo notices at once that a process has ended."""
    try:
        return jax.devices("cpu")
    except RuntimeError:  # JAX_PLATFORMS excludes them
        return jax.devices()


def _options() -> dict[str, Any]:
    """Of XLA: how long a process waits for the others, which older releases do not know."""
    known = jax.__version_info__ >= (0, 10) and _cpus()[0].platform == "cpu"
    return {"xla_cpu_collective_timeout_seconds": LONGEST_WAIT} if known else {}


@functools.cache
def _sum(mesh: Mesh) -> Any:
    """A compiled sum over the processes."""
    replicated = NamedSharding(mesh, PartitionSpec())
    options: Any = {"out_shardings": replicated, "compiler_options": _options()}
    return jax.jit(lambda x: x.sum(0, dtype=x.dtype), **options)


def _add(mesh: Mesh, values: np.ndarray) -> np.ndarray:
    module: Any = jax if hasattr(jax, "enable_x64") else jax.experimental  # in older releases
    with module.enable_x64(True):
        every = NamedSharding(mesh, PartitionSpec("process"))
        shape = mesh.size, *values.shape
        own = jax.make_array_from_process_local_data(every, values[None], shape)
        return np.array(_sum(mesh)(own).addressable_data(0))


@contextmanager
def connected() -> Iterator[None]:
    """Raises: ConnectionError if the block fails because another process has ended."""
    try:
        yield
    except (RuntimeError, ValueError) as error:  # JAX raises both
        if "gloo" not in f"{error}".lower():
            raise
        raise lost_process() from error


@contextmanager
def without_stdout() -> Iterator[None]:
    """Gloo prints a line to stdout when it first connects devices, as happens in the block."""
    sys.stdout.flush()
    before = os.dup(1)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 1)
        yield
    finally:
        os.dup2(before, 1)
        os.close(before)


def _all_fail(client: Any) -> bool:
    """Whether all processes leave the block with an error."""
    with suppress(Exception):
        client.wait_at_barrier("bilinear: all processes failed", TOGETHER)
        return True
    return False


def _exit(code: int) -> None:
    """End at once: JAX would wait for processes that have ended, and then abort."""
    for stream in sys.stdout, sys.stderr:
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
