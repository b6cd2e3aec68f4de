"""The processes that train one model together, each on its part of every batch.

All of them run the same loop with the same weights. A framework contributes one operation, the sum
over all processes; everything else follows from it.
"""

import importlib
import os
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from ...contract import refuse

Result = TypeVar("Result")


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

    def choose_error(self, own: Exception | None) -> Exception:
        """The error of the first process that has one; every process calls it with its own."""
        if self.count > 1:
            failed = self.add(np.eye(self.count)[self.rank] * (own is not None))
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


@contextmanager
def join(framework: str, device: str | None = None) -> Iterator[Processes]:
    """Join the processes of one training within the block.

    A launcher such as torchrun starts them and sets the environment variables ``WORLD_SIZE``,
    ``RANK`` and ``LOCAL_RANK``. Without the first one, this process is alone.

    Args:
        framework: ``"torch"``; the others train in one process.
        device: as in `build`. Default: None.

    Raises: ValueError for another framework, and for more processes than GPUs.
    """
    count = os.environ.get("WORLD_SIZE", "1")
    if count == "1":
        yield Processes()
        return
    if framework != "torch":
        invariant, remedy = "several processes need the framework torch", "Use --framework torch."
        refuse(ValueError, "train", invariant, f"{framework} in {count} processes", remedy)
    module = importlib.import_module(f"{__name__}.{framework}")
    with module.join(device) as processes:
        yield processes
