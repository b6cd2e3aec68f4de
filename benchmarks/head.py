"""The descriptor and its linear classifier as a whole: a training step, and scores alone.

A step is the forward pass, softmax cross-entropy, the gradient of maps, weight and bias, and SGD
with momentum on the classifier. Published is the formula with a linear layer of all its entries;
ours is half the descriptor, and to score, `bilinear_scores`, which holds none.
"""

import argparse
import importlib
import sys
from typing import Any, NamedTuple

import numpy as np

from .calls import CLASSES, Size
from .measure import Spread, alternating, apart, compared, give_back, settled_peak
from .report import MEGABYTE, spread, table

SIZE, QUICK = Size(16, 784), Size(4, 49, 64)
RATE, MOMENTUM = 1e-3, 0.9
PASSES = ("inference", "training step")


class Head(NamedTuple):
    """What every framework is given: maps as they come out of a ReLU, labels, a classifier."""

    x: np.ndarray
    labels: np.ndarray
    weight: np.ndarray
    bias: np.ndarray


def drawn(size: Size, *, packed: bool) -> Head:
    rng, c = np.random.default_rng(0), size.channels
    x = np.maximum(rng.standard_normal((size.samples, size.locations, c), "float32") + 0.5, 0)
    features = c * (c + 1) // 2 if packed else c * c
    weight = 0.01 * rng.standard_normal((CLASSES, features), "float32")
    labels = rng.integers(CLASSES, size=size.samples)
    return Head(x, labels, weight, np.zeros(CLASSES, "float32"))


def measured(
    framework: str, size: Size, seconds: float, device: str, threads: int | None = None
) -> list[dict]:
    """The rows of one framework, in this process."""
    if threads is not None:
        importlib.import_module(f"{__package__}.{framework}").threads(threads)
    found = []
    for which in PASSES:
        found.append(
            row(framework, which, size, alternating(runs(framework, which, size, device), seconds))
        )
        print(".", end="", flush=True, file=sys.stderr)
    return found


def runs(framework: str, which: str, size: Size, device: str) -> dict[str, Any]:
    """Name -> a call that waits for its result: scores, or the loss of a step."""
    own = importlib.import_module(f"{__package__}.{framework}_head")
    return (own.steps if which == "training step" else own.scores)(size, device)


def row(framework: str, which: str, size: Size, times: dict[str, list[float]]) -> dict:
    subject = importlib.import_module(f"{__package__}.{framework}")
    spreads = {name: Spread.of([1e3 * t for t in of]) for name, of in times.items()}
    return {
        "framework": subject.VERSION,
        "operator": f"head, {CLASSES} classes",
        "size": str(size),
        "dtype": "float32",
        "pass": which,
        "spreads": spreads,
        **compared(times, subject),
    }


def memory(framework: str, which: str, name: str, size: Size, threads: int = 1) -> int:
    """The most that the process grows by in one call, after a first one."""
    give_back()
    importlib.import_module(f"{__package__}.{framework}").threads(threads)
    return settled_peak(runs(framework, which, size, "cpu")[name])


def section(given: argparse.Namespace) -> list[dict]:
    """Both passes, and of each way the peak, where that can be seen: on a CPU."""
    size, found = QUICK if given.quick else SIZE, []
    for framework in given.framework:
        rows = apart(measured, framework, size, given.seconds, given.device, given.threads)
        for one in rows if given.device == "cpu" else ():
            one["peak"] = {
                name: apart(memory, framework, one["pass"], name, size) for name in one["spreads"]
            }
        found += rows
    return found


def tables(found: list[dict]) -> list[str]:
    """Ours against each baseline, then every way with its time and its peak."""
    head = "framework", "pass", "ms", "÷ formula", "÷ compiled"
    lines = []
    for one in found:
        ratios = (spread(*one["ratios"][baseline]) for baseline in ("eager", "compiled"))
        lines.append((one["framework"], one["pass"], f"{one['own']:.1f}", *ratios))
    ways = [
        (one["framework"], one["pass"], name, spread(*ms, digits=1))
        + ((f"{one['peak'][name] / MEGABYTE:.1f}",) if "peak" in one else ("",))
        for one in found
        for name, ms in one["spreads"].items()
    ]
    return [*table(head, lines), "", *table(("framework", "pass", "", "ms", "peak, MiB"), ways)]
