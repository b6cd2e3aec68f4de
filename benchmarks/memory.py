"""Memory of every operator: held between the passes, and peak of forward and backward."""

import argparse
import importlib
import sys

from .calls import OPERATORS, Size
from .measure import in_new_process, peak_after_warm_up, return_freed_memory
from .operators import QUICK, Row, rows
from .report import MEGABYTE, table

POOLED = (
    (Size(16, 784), "float32"),
    (Size(16, 784, packed=True), "float32"),
    (Size(16, 784, streams=2), "float32"),
    (Size(16, 784), "bfloat16"),
    (Size(16, 196), "float32"),
)
"""Sizes of `bilinear_pool`. The other operators have one size each."""


def measure_memory(framework: str, row: Row, *, compiled: bool = True) -> list[dict]:
    """Bytes held and peak bytes, for ours and the published formula, optionally compiled."""
    return_freed_memory()
    subject = importlib.import_module(f"{__package__}.{framework}")
    subject.threads(1)
    runs = subject.runs(*row, True, "cpu")
    op, size, dtype = row
    of = {"framework": subject.VERSION, "operator": op, "size": str(size), "dtype": dtype}
    # bytes held are known only for passes that are two calls
    known = {subject.BEST[subject.OURS][0]: True, subject.EAGER: False}
    found = []
    for name in runs:
        if name in known or name.startswith("ours") or (compiled and name != subject.FLOOR):
            held = subject.bytes_held(*row, known[name]) if name in known else None
            found.append({**of, "name": name, "held": held, "peak": peak_after_warm_up(runs[name])})
    print(".", end="", flush=True, file=sys.stderr)
    return found


def section(given: argparse.Namespace) -> list[dict]:
    """Measure each operator at one size, and `bilinear_pool` at the sizes of `POOLED`."""
    others = [row for row in rows() if row[0] in OPERATORS and row[0] != "bilinear_pool"]
    wanted = [*(("bilinear_pool", *form) for form in POOLED), *others]
    wanted, ops = QUICK if given.quick else wanted, given.operator or OPERATORS
    wanted = [row for row in wanted if row[0] in ops]
    return [
        u for f in given.framework for row in wanted for u in in_new_process(measure_memory, f, row)
    ]


def tables(found: list[dict]) -> list[str]:
    head = ("framework", "operator", "N × L × C", "dtype", "variant")
    head += ("held between the passes, MiB", "peak, MiB")
    lines = []
    for row in found:
        held = "" if row["held"] is None else f"{row['held'] / MEGABYTE:.1f}"
        cells = [row[key] for key in ("framework", "operator", "size", "dtype", "name")]
        lines.append([*cells, held, f"{row['peak'] / MEGABYTE:.1f}"])
    return table(head, lines)
