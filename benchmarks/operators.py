"""Times of every operator and layer, in turn with the published formula and the bare products."""

import argparse
import importlib
import sys
from collections.abc import Sequence

from .calls import LAYERS, MAPS, OPERATORS, SIZES, Size
from .measure import alternating, apart, compared
from .report import spread, table

QUICK = [("bilinear_pool", Size(16, 784), "float32")]

Row = tuple[str, Size, str]
"""Operator or layer, size and dtype."""


def rows() -> list[Row]:
    sizes = [Size(n, locations) for locations in MAPS.values() for n in (1, 16, 64)]
    found = [("bilinear_pool", size, "float32") for size in sizes]
    for locations in MAPS.values():
        found.append(("bilinear_pool", Size(16, locations, streams=2), "float32"))
        found.append(("bilinear_pool", Size(16, locations), "bfloat16"))
        found.append(("bilinear_pool", Size(16, locations, half=True), "float32"))
    others = [op for op in (*OPERATORS, *LAYERS) if op != "bilinear_pool"]
    return found + [(op, SIZES.get(op, Size(16, 784)), "float32") for op in others]


def chosen(given: argparse.Namespace) -> list[Row]:
    """The rows that the command asks for."""
    return [
        row for row in (QUICK if given.quick else rows()) if row[0] in (given.operator or [row[0]])
    ]


def measured(
    framework: str,
    chosen: list[Row],
    seconds: float,
    device: str,
    passes: Sequence[bool] = (False, True),
    threads: int | None = None,
) -> list[dict]:
    """The rows of one framework, in this process; of `passes` True is with the gradient."""
    subject = importlib.import_module(f"{__package__}.{framework}")
    if threads is not None:
        subject.threads(threads)
    results = []
    for op, size, dtype in chosen:
        for gradient in passes:
            times = alternating(subject.runs(op, size, dtype, gradient, device), seconds)
            row = {
                "framework": subject.VERSION,
                "operator": op,
                "size": str(size),
                "dtype": dtype,
                "pass": "forward + backward" if gradient else "forward",
            }
            results.append(row | compared(times, subject))
            print(".", end="", flush=True, file=sys.stderr)
    return results


def section(given: argparse.Namespace) -> list[dict]:
    wanted, how = chosen(given), (given.seconds, given.device, (False, True), given.threads)
    return [row for f in given.framework for row in apart(measured, f, wanted, *how)]


def tables(found: list[dict]) -> list[str]:
    """A row for each operator, size, dtype and pass."""
    head = ("framework", "operator", "N × L × C", "dtype", "pass", "ms")
    head += ("÷ formula", "÷ compiled", "÷ floor")
    lines = []
    for row in found:
        cells = [row[key] for key in ("framework", "operator", "size", "dtype", "pass")]
        spreads = (row["ratios"].get(b) for b in ("eager", "compiled", "floor"))
        cells += [f"{row['own']:.1f}", *(spread(*s) if s else "" for s in spreads)]
        lines.append(cells)
    return table(head, lines)
