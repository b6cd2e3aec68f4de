"""Whole B-CNNs: training and inference steps, compared with the same network in plain code."""

import argparse
import importlib
import sys
from typing import Any, NamedTuple

import numpy as np

from .measure import Spread, in_new_process, ratios, time_in_turn
from .report import spread, table


class Step(NamedTuple):
    """One step of a network on a batch of square images."""

    backbone: str
    pixels: int
    batch: int
    training: bool
    classes: int = 200

    def __str__(self) -> str:
        return f"{self.backbone}, {self.batch} × {self.pixels} × {self.pixels}"


def batch(step: Step) -> tuple[np.ndarray, np.ndarray]:
    """Normalized images (N, H, W, 3) and their classes."""
    rng = np.random.default_rng(0)
    images = rng.standard_normal((step.batch, step.pixels, step.pixels, 3), "float32")
    return images, rng.integers(0, step.classes, step.batch)


def runs(framework: str, step: Step, how: str, **options: Any) -> dict:
    """Return the calls "ours", "plain" and "pooling" (only the pooling of ours)."""
    networks = importlib.import_module(f"{__package__}.{framework}_networks")
    given = how, step.backbone, step.classes, *batch(step)
    return networks.steps(*given, training=step.training, **options)


def ways(framework: str) -> list[str]:
    """The ways in which a framework runs networks."""
    return [*importlib.import_module(f"{__package__}.{framework}_networks").WAYS]


def measure(framework: str, step: Step, seconds: float, threads: int) -> list[dict]:
    """Measure one row for each way to run the network, in this process."""
    subject = importlib.import_module(f"{__package__}.{framework}")
    subject.threads(threads)
    return [
        compare(subject.VERSION, step, how, runs(framework, step, how), seconds)
        for how in ways(framework)
    ]


def compare(version: str, step: Step, how: str, runs: dict, seconds: float) -> dict:
    """Time the calls; return the ratio to the plain network and the fraction of pooling."""
    times = time_in_turn(runs, seconds)
    print(".", end="", flush=True, file=sys.stderr)
    return {
        "framework": version,
        "network": str(step),
        "step": "training" if step.training else "inference",
        "how": how,
        "milliseconds": {name: 1e3 * Spread.of(t).median for name, t in times.items()},
        "ratio": ratios(times, "ours", "plain"),
        "share": ratios(times, "pooling", "ours"),
        "rounds": len(times["ours"]),
    }


def section(given: argparse.Namespace) -> list[dict]:
    networks = [("vgg16", 224), ("resnet18", 224), ("resnet18", 448)]
    if given.pixels:
        networks = [("vgg16", given.pixels), ("resnet18", given.pixels)]
    steps = [
        Step(backbone, pixels, given.batch, training)
        for backbone, pixels in (networks[1:2] if given.quick else networks)
        for training in (False, True)
    ]
    how = given.seconds, given.threads
    pairs = [(framework, step) for framework in given.framework for step in steps]
    return [row for pair in pairs for row in in_new_process(measure, *pair, *how)]


def tables(found: list[dict]) -> list[str]:
    head = ("framework", "network, images", "step", "how", "ours, ms", "plain, ms", "ours ÷ plain")
    lines = []
    for row in found:
        times = [f"{row['milliseconds'][who]:.0f}" for who in ("ours", "plain")]
        cells = [row[key] for key in ("framework", "network", "step", "how")]
        lines.append([*cells, *times, spread(*row["ratio"]), spread(*row["share"])])
    return table((*head, "pooling ÷ ours"), lines)
