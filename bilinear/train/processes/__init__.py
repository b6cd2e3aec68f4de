"""The processes that train one model together, each on its part of every batch.

All of them run the same loop with the same weights. A framework contributes one operation, the sum
over all processes; everything else follows from it.
"""

import importlib
import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from ...contract import message, refuse

Result = TypeVar("Result")
COUNTS_OF_JAX = "JAX_NUM_PROCESSES", "SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE"
"""Environment variables with the number of processes; the first that exists decides."""


@dataclass(frozen=True)
class Processes:
    """This process and the others; the default is one process alone.

    Args:
        rank: of this process, from 0. Process 0 writes the run and shows its progress.
        count: number of processes.
        add: sum of arrays of one shape and dtype, one from each process; every process receives
            equal bits. Raises: ConnectionError if another process has ended.
        fails_first: whether no other process has called it before. The process that fails first
            reports its error, and ends the others.
    """

    rank: int = 0
    count: int = 1
    add: Callable[[np.ndarray], np.ndarray] = np.array
    fails_first: Callable[[], bool] = lambda: True

    def wait(self) -> None:
        """Wait until every process has called it."""
        self.add(np.zeros(1))

    def collect(self, *numbers: float) -> np.ndarray:
        """The numbers that each process gives, one row for each, float64."""
        own = np.zeros((self.count, len(numbers)))
        own[self.rank] = numbers
        return self.add(own)

    def first(self, call: Callable[[], Result]) -> Result:
        """Call in process 0; every process receives the result, or raises the error."""
        if self.count == 1:
            return call()
        result, error = None, None
        if self.rank == 0:
            try:
                result = call()
            except (Exception, KeyboardInterrupt) as caught:
                error = caught
        received, failed = self._send((result, error and _portable(error)), 0)
        if failed is not None:
            raise error or failed
        return received if result is None else result

    def choose_error(self, own: BaseException | None) -> BaseException:
        """The error of the first process that has one; every process calls it with its own."""
        if self.count > 1:
            (failed,) = self.collect(own is not None).T
            sent = self._send(own and _portable(own), int(failed.argmax()))
            own = own if failed.argmax() == self.rank else sent
        assert own is not None
        return own

    def _send(self, value: Any, origin: int) -> Any:
        """The value of the process `origin`, in every process."""
        data = pickle.dumps(value) if self.rank == origin else b""
        size = int(self.add(np.array([len(data)]))[0])
        sent = np.zeros(size, np.uint8)
        sent[: len(data)] = np.frombuffer(data, np.uint8)
        return pickle.loads(self.add(sent).tobytes())


def _portable(error: BaseException) -> BaseException:
    """The error, or its text in a RuntimeError if pickle cannot restore it."""
    try:
        return pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")


def lost_process() -> ConnectionError:
    """The error of a process without another one."""
    invariant, received = "all processes must run until the end", "one that has ended"
    remedy = "Its own message has the reason; --resume continues the run."
    return ConnectionError(message("train", invariant, received, remedy))


@contextmanager
def keep_sigterm() -> Iterator[None]:
    """Restore the handler of SIGTERM, which frameworks replace in the block, unknown to Python."""
    yield
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))


@contextmanager
def join(framework: str, device: str | None = None) -> Iterator[Processes]:
    """Join the processes of one training within the block.

    Processes of PyTorch are started by torchrun or another launcher, which sets ``WORLD_SIZE``,
    ``RANK`` and ``LOCAL_RANK``. Those of TensorFlow have the environment variable ``TF_CONFIG``.
    Those of JAX are started by srun or mpirun, or have the variables ``JAX_COORDINATOR_ADDRESS``,
    ``JAX_NUM_PROCESSES`` and ``JAX_PROCESS_ID``. Without them, this process is alone.

    Args:
        framework: ``"torch"``, ``"tensorflow"`` or ``"jax"``.
        device: as in `build`. Default: None.

    Raises: ValueError for torchrun with another framework, and for more processes than GPUs.
    """
    launched = int(os.environ.get("WORLD_SIZE", "1"))
    of_jax = next((os.environ[name] for name in COUNTS_OF_JAX if name in os.environ), "1")
    described = 2 if "TF_CONFIG" in os.environ else 1  # the module of TensorFlow reads it
    counts = {"torch": launched, "tensorflow": described, "jax": int(of_jax)}
    if counts.get(framework, 1) < 2:
        if launched > 1:
            invariant = "processes that WORLD_SIZE counts need the framework torch"
            remedy = "Use --framework torch; docs/scaling.md has the commands of the others."
            refuse(ValueError, "train", invariant, f"{framework} in {launched} processes", remedy)
        yield Processes()
        return
    module = importlib.import_module(f"{__name__}.{framework}")
    with module.join(device) as processes:
        yield processes
