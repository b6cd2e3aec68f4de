"""Memory of every operator: held between the passes, and at most in a forward and backward one."""

import argparse
import importlib
import sys

from .calls import OPERATORS, Size
from .measure import apart, give_back, settled_peak
from .operators import QUICK, Row, rows
from .report import MEGABYTE, table

POOLED = (
    (Size(16, 784), "float32"),
    (Size(16, 784, packed=True), "float32"),
    (Size(16, 784, streams=2), "float32"),
    (Size(16, 784), "bfloat16"),
    (Size(16, 196), "float32"),
)
"""Of `bilinear_pool`, of which something is promised; of the other operators one size each."""


def used(framework: str, row: Row, *, compiled: bool = True) -> list[dict]:
    """Bytes held and at most, of ours and of the published formula, where wanted compiled too."""
    give_back()
    subject = importlib.import_module(f"{__package__}.{framework}")
    subject.threads(1)
    runs = subject.runs(*row, True, "cpu")
    op, size, dtype = row
    of = {"framework": subject.VERSION, "operator": op, "size": str(size), "dtype": dtype}
    # Two calls, so no figure of XLA's, and what a compiler holds of a formula it does not tell.
    told = {subject.BEST[subject.OURS][0]: True, subject.EAGER: False}
    found = []
    for name in runs:
        if name in told or name.startswith("ours") or (compiled and name != subject.FLOOR):
            held = subject.held(*row, told[name]) if name in told else None
            found.append({**of, "name": name, "held": held, "peak": settled_peak(runs[name])})
    print(".", end="", flush=True, file=sys.stderr)
    return found


def section(given: argparse.Namespace) -> list[dict]:
    """Each operator at one size, `bilinear_pool` in every form that `POOLED` has."""
    others = [row for row in rows() if row[0] in OPERATORS and row[0] != "bilinear_pool"]
    wanted = [*(("bilinear_pool", *form) for form in POOLED), *others]
    wanted, ops = QUICK if given.quick else wanted, given.operator or OPERATORS
    wanted = [row for row in wanted if row[0] in ops]
    return [u for f in given.framework for row in wanted for u in apart(used, f, row)]


def tables(found: list[dict]) -> list[str]:
    head = ("framework", "operator", "N × L × C", "dtype", "")
    head += ("held between the passes, MiB", "peak, MiB")
    lines = []
    for row in found:
        held = "" if row["held"] is None else f"{row['held'] / MEGABYTE:.1f}"
        cells = [row[key] for key in ("framework", "operator", "size", "dtype", "name")]
        lines.append([*cells, held, f"{row['peak'] / MEGABYTE:.1f}"])
    return table(head, lines)
