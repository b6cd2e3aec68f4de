"""Ctrl-C (SIGINT), deferred until a training step is complete."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def deferred_interrupts() -> Iterator[Callable[[], bool]]:
    """Inside the block, record the first SIGINT instead of raising KeyboardInterrupt.

    The block receives a function that returns whether a SIGINT arrived; a second one raises
    KeyboardInterrupt at once. Nothing changes in threads other than the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    received: list[int] = []

    def record(number: int, _: object) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)

    before = signal.signal(signal.SIGINT, record)
    try:
        yield lambda: bool(received)
    finally:
        signal.signal(signal.SIGINT, before)
