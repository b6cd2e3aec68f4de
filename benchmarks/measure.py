"""Measurement of times in turn, and of peak memory in a new process."""

import ctypes
import gc
import math
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from .machine import ONEDNN

_LIBC = ctypes.CDLL(None)


class Spread(NamedTuple):
    """Median and quartiles over the rounds."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> "Spread":
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(low, median, high)


def wall_clock(run: Callable[[], object]) -> float:
    """Seconds of one run."""
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


def time_in_turn(
    runs: Mapping[str, Callable[[], object]],
    seconds: float,
    *,
    rounds: tuple[int, int] = (7, 40),
    clock: Callable[[Callable[[], object]], float] = wall_clock,
) -> dict[str, list[float]]:
    """Time each run once per round, after two rounds of warm-up. Return seconds by name.

    Ratios are taken within a round, so a temporary slowdown of the machine affects all runs.
    """
    for run in runs.values():
        run()
        run()
    times: dict[str, list[float]] = {name: [] for name in runs}
    start, fewest, most = time.perf_counter(), *rounds
    for done in range(most):
        if done >= fewest and time.perf_counter() - start > seconds:
            break
        for name, run in runs.items():
            times[name].append(clock(run))
    return times


def ratios(times: Mapping[str, list[float]], own: str, baseline: str) -> Spread:
    return Spread.of([a / b for a, b in zip(times[own], times[baseline], strict=True)])


def compare(times: dict[str, list[float]], subject: Any) -> dict:
    """Summarize the times of a row: medians, and the ratios of ours to each baseline."""
    milliseconds = {k: 1e3 * Spread.of(v).median for k, v in times.items()}
    for own, of in subject.BEST.items():  # the fastest of several compilers
        best = min(of, key=lambda name: Spread.of(times[name]).median)
        times[own] = times[best]
    baselines = {b.lower(): getattr(subject, b) for b in ("EAGER", "COMPILED", "FLOOR")}
    return {
        "milliseconds": milliseconds,
        "own": 1e3 * Spread.of(times[subject.OURS]).median,
        "rounds": len(times[subject.OURS]),
        "ratios": {
            b: ratios(times, subject.OURS, name) for b, name in baselines.items() if name in times
        },
    }


def return_freed_memory() -> None:
    """Make glibc return freed arrays to the system. Call before importing a framework.

    Large arrays are then mapped individually and unmapped when they are freed. TensorFlow manages
    arrays itself unless oneDNN is switched off.
    """
    os.environ[ONEDNN] = "0"
    if hasattr(_LIBC, "mallopt"):  # glibc only
        _LIBC.mallopt(-3, 2**16)  # M_MMAP_THRESHOLD


def resident() -> int:
    """Resident memory of the process in bytes, without freed memory."""
    gc.collect()
    if hasattr(_LIBC, "malloc_trim"):
        _LIBC.malloc_trim(0)  # reused free memory would not be counted
    return _status("VmRSS")


def peak(run: Callable[[], object]) -> int:
    """Largest growth of the process during `run`, in bytes, as counted by Linux.

    Pages of files are not counted, because the system may read them again.
    """
    before, of_files = resident(), _status("RssFile")
    # resets the peak to the current size
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    run()
    read_again = max(_status("RssFile") - of_files, 0)
    return max(_status("VmHWM") - before - read_again, 0)


def peak_after_warm_up(run: Callable[[], object]) -> int:
    """`peak` after two warm-up runs, in a process that called `return_freed_memory`.

    Returns the smallest of three, because other threads of the process can only add to it.
    """
    run()
    run()
    gc.collect()
    time.sleep(0.05)  # some threads free memory later
    return min(peak(run) for _ in range(3))


def _status(name: str) -> int:
    """A value in bytes from /proc/self/status."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def exponent(sizes: Sequence[float], times: Sequence[float]) -> float:
    """Slope of log time over log size: 1 for linear cost, 2 for quadratic cost."""
    return statistics.linear_regression([*map(math.log, sizes)], [*map(math.log, times)]).slope


def in_new_process(
    function: Callable[..., Any], *arguments: object, first: Callable[[], object] | None = None
) -> Any:
    """Call `function` in a new process, after `first`, and return its result."""
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=fresh, initializer=first) as pool:
        return pool.submit(function, *arguments).result()
