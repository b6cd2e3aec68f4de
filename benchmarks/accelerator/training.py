"""Training: a step of whole B-CNNs in mixed precision, and the part of it that is the pooling."""

import functools
from collections.abc import Collection, Mapping
from types import ModuleType

from .. import models
from ..measure import Spread, time_in_turn
from ..models import Step
from .child import Items, clock, working_calls
from .report import Rows, Table

MEANING = (
    "Median milliseconds of a training step of ours and of the same network in plain code with the "
    "published formula, and of the forward and backward pass of our pooling alone."
)
TIMED = ("ours", "plain", "pooling")
PRECISIONS = (True, False)
"""Half precision first, because it is the usual one on a GPU."""


def items(adapter: ModuleType, device: str, operators: Collection[str]) -> Items:
    del operators
    small = [Step("resnet18", 33, 2, True, classes=3)]
    steps = [Step(backbone, 448, 32, True) for backbone in ("vgg16", "resnet18")]
    return {
        f"{step}, {how}, {adapter.HALF if half else 'float32'}": functools.partial(
            _row, adapter, device, step, how, half
        )
        for how in models.ways(adapter.LABEL)
        for half in PRECISIONS
        for step in (small if device == "cpu" else steps)
    }


def _row(adapter: ModuleType, device: str, step: Step, how: str, half: bool) -> dict:
    runs = models.runs(adapter.LABEL, step, how, device=device, half=half)
    calls, problems = working_calls(runs, adapter)
    peaks = {name: adapter.peak(call) for name, call in calls.items()}
    limit, rounds = (0.0, (2, 2)) if device == "cpu" else (2.0, (3, 10))
    times = time_in_turn(calls, limit, rounds=rounds, clock=clock(adapter))
    return {
        "network": str(step),
        "how": how,
        "precision": adapter.HALF if half else "float32",
        "milliseconds": {k: [1e3 * t for t in Spread.of(v)] for k, v in times.items()},
        "peak": peaks,
        "problems": problems,
    }


def table_of(rows: Rows, rates: Mapping[str, float]) -> Table:
    del rates
    lines = []
    for framework, row in rows:
        median = {name: values[1] for name, values in row["milliseconds"].items()}
        times = [f"{median[name]:.1f}" if name in median else "failed" for name in TIMED]
        known = {"ours", "pooling"} <= median.keys()
        part = f"{100 * median['pooling'] / median['ours']:.0f} %" if known else ""
        lines.append([framework, row["network"], row["how"], row["precision"], *times, part])
    head = ("framework", "network, images", "way", "precision")
    return (*head, *(f"{name}, ms" for name in TIMED), "pooling ÷ ours"), lines
