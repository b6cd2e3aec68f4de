"""Pooling and linear classifier together: a training step, and scores without gradient.

A training step is the forward pass, softmax cross-entropy, the gradients of features, weight and
bias, and SGD with momentum on the classifier. The baseline is the published formula with a linear
layer on the full descriptor. Ours trains on the packed descriptor, and computes scores with
`bilinear_scores`, which stores no descriptor.
"""

import argparse
import importlib
import sys
from typing import Any, NamedTuple

import numpy as np

from .calls import CLASSES, Size
from .measure import (
    Spread,
    compare,
    in_new_process,
    peak_after_warm_up,
    return_freed_memory,
    time_in_turn,
)
from .report import MEGABYTE, spread, table

SIZE, QUICK = Size(16, 784), Size(4, 49, 64)
LEARNING_RATE, MOMENTUM = 1e-3, 0.9
PASSES = ("inference", "training step")


class Head(NamedTuple):
    """Inputs for every framework: features after a ReLU, labels, classifier weights."""

    x: np.ndarray
    labels: np.ndarray
    weight: np.ndarray
    bias: np.ndarray


def make_head(size: Size, *, packed: bool) -> Head:
    rng, c = np.random.default_rng(0), size.channels
    x = np.maximum(rng.standard_normal((size.samples, size.locations, c), "float32") + 0.5, 0)
    features = c * (c + 1) // 2 if packed else c * c
    weight = 0.01 * rng.standard_normal((CLASSES, features), "float32")
    labels = rng.integers(CLASSES, size=size.samples)
    return Head(x, labels, weight, np.zeros(CLASSES, "float32"))


def measure(
    framework: str, size: Size, seconds: float, device: str, threads: int | None = None
) -> list[dict]:
    """Measure the rows of one framework, in this process."""
    if threads is not None:
        importlib.import_module(f"{__package__}.{framework}").threads(threads)
    found = []
    for which in PASSES:
        found.append(
            row(framework, which, size, time_in_turn(runs(framework, which, size, device), seconds))
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
        **compare(times, subject),
    }


def memory(framework: str, which: str, name: str, size: Size, threads: int = 1) -> int:
    """Peak memory of one call, in this process."""
    return_freed_memory()
    importlib.import_module(f"{__package__}.{framework}").threads(threads)
    return peak_after_warm_up(runs(framework, which, size, "cpu")[name])


def section(given: argparse.Namespace) -> list[dict]:
    """Measure both passes and, on a CPU, the peak memory of each variant."""
    size, found = QUICK if given.quick else SIZE, []
    for framework in given.framework:
        rows = in_new_process(measure, framework, size, given.seconds, given.device, given.threads)
        for one in rows if given.device == "cpu" else ():
            one["peak"] = {
                name: in_new_process(memory, framework, one["pass"], name, size)
                for name in one["spreads"]
            }
        found += rows
    return found


def tables(found: list[dict]) -> list[str]:
    """Ratios of ours to each baseline, then the time and peak memory of each variant."""
    head = "framework", "pass", "ms", "÷ formula", "÷ compiled"
    lines = []
    for one in found:
        ratios = (spread(*one["ratios"][baseline]) for baseline in ("eager", "compiled"))
        lines.append((one["framework"], one["pass"], f"{one['own']:.1f}", *ratios))
    variants = [
        (one["framework"], one["pass"], name, spread(*ms, digits=1))
        + ((f"{one['peak'][name] / MEGABYTE:.1f}",) if "peak" in one else ("",))
        for one in found
        for name, ms in one["spreads"].items()
    ]
    return [
        *table(head, lines),
        "",
        *table(("framework", "pass", "variant", "ms", "peak, MiB"), variants),
    ]
