"""Times that are measured side by side, and memory that is measured in a process of its own."""

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
    """The median and the quartiles of some rounds."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> "Spread":
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(low, median, high)


def alternating(
    runs: Mapping[str, Callable[[], object]], seconds: float, *, rounds: tuple[int, int] = (7, 40)
) -> dict[str, list[float]]:
    """Seconds of each run, one after the other in every round, after two rounds of warm-up.

    What slows the machine down for a while slows all of them: ratios are taken within a round.
    """
    for run in runs.values():
        run()
        run()
    times: dict[str, list[float]] = {name: [] for name in runs}
    start, least, most = time.perf_counter(), *rounds
    for done in range(most):
        if done >= least and time.perf_counter() - start > seconds:
            break
        for name, run in runs.items():
            begin = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - begin)
    return times


def ratios(times: Mapping[str, list[float]], own: str, baseline: str) -> Spread:
    return Spread.of([a / b for a, b in zip(times[own], times[baseline], strict=True)])


def compared(times: dict[str, list[float]], subject: Any) -> dict:
    """What a row says of its times: medians, and the ratios of ours to each baseline."""
    milliseconds = {k: 1e3 * Spread.of(v).median for k, v in times.items()}
    for own, of in subject.BEST.items():  # the better of several compilers stands for all
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


def give_back() -> None:
    """Have this process give back every array that is freed; before it imports a framework.

    glibc then maps each large array by itself and unmaps it at once, also those that come before
    what is measured. TensorFlow does not leave its arrays to it unless oneDNN is switched off.
    """
    os.environ[ONEDNN] = "0"
    if hasattr(_LIBC, "mallopt"):  # else of another maker than GNU
        _LIBC.mallopt(-3, 2**16)  # M_MMAP_THRESHOLD


def resident() -> int:
    """Bytes of memory that the process has now, without those that were freed."""
    gc.collect()
    if hasattr(_LIBC, "malloc_trim"):
        _LIBC.malloc_trim(0)  # what lies free would be taken again, and seem to cost nothing
    return _status("VmRSS")


def peak(run: Callable[[], object]) -> int:
    """Bytes by which the process grows at most during `run`, as Linux keeps account of them.

    Without pages of libraries: a system that dropped some reads them in again.
    """
    before, of_files = resident(), _status("RssFile")
    Path("/proc/self/clear_refs").write_text("5")  # the most that it had becomes what it has
    run()
    read_again = max(_status("RssFile") - of_files, 0)
    return max(_status("VmHWM") - before - read_again, 0)


def settled_peak(run: Callable[[], object]) -> int:
    """`peak` of a run that has run before, in a process that was told to `give_back`.

    The least of three: what others do in the process meanwhile can only add to it.
    """
    run()
    run()
    gc.collect()
    time.sleep(0.05)  # some threads let go a little later
    return min(peak(run) for _ in range(3))


def _status(name: str) -> int:
    """Bytes that Linux tells of this process under `name`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def exponent(sizes: Sequence[float], times: Sequence[float]) -> float:
    """Slope of log time over log size: 1 where the cost is linear, 2 where it is quadratic."""
    return statistics.linear_regression([*map(math.log, sizes)], [*map(math.log, times)]).slope


def apart(
    function: Callable[..., Any], *arguments: object, first: Callable[[], object] | None = None
) -> Any:
    """What `function` returns in a fresh process of its own, which does `first` first."""
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=fresh, initializer=first) as pool:
        return pool.submit(function, *arguments).result()
