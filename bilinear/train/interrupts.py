"""Ctrl-C (SIGINT) and the signals of clusters, deferred until a training step is complete."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

OF_CLUSTERS = "SIGTERM", "SIGUSR1"
"""Sent before a job ends: SIGTERM by most clusters, SIGUSR1 by Slurm's ``--signal=USR1@60``."""


@contextmanager
def deferred_interrupts(*, second_raises: bool = True) -> Iterator[Callable[[], bool]]:
    """Inside the block, record the first SIGINT instead of raising KeyboardInterrupt.

    The signals `OF_CLUSTERS` are recorded too, unless they already have a handler. The block
    receives a function that returns whether a signal arrived; a second one raises KeyboardInterrupt
    at once if `second_raises`. Nothing changes in threads other than the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    received: list[int] = []

    def record(number: int, _: object) -> None:
        if received and second_raises:
            raise KeyboardInterrupt
        received.append(number)

    there = [getattr(signal, name) for name in OF_CLUSTERS if hasattr(signal, name)]
    numbers = [signal.SIGINT, *(n for n in there if signal.getsignal(n) is signal.SIG_DFL)]
    before = {number: signal.signal(number, record) for number in numbers}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
