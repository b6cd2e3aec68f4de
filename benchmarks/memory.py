"""Memory of every operator: held between the passes, and at most in a forward and backward one."""

import argparse
import importlib
import sys

from .calls import OPERATORS
from .measure import apart, give_back, settled_peak
from .operators import QUICK, Row, rows
from .report import MEGABYTE, table


def used(framework: str, row: Row, *, compiled: bool = True) -> list[dict]:
    """Bytes held and at most, of ours and of the published formula, where wanted compiled too."""
    give_back()
    subject = importlib.import_module(f"{__package__}.{framework}")
    subject.threads(1)
    runs = subject.runs(*row, True, "cpu")
    op, size, dtype = row
    of = {"framework": subject.VERSION, "operator": op, "size": str(size), "dtype": dtype}
    found = []
    for name in runs:
        own = name.startswith("ours")  # what a compiler holds of a formula it does not tell
        held = subject.held(*row, own) if own or name == subject.EAGER else None
        if own or name == subject.EAGER or (compiled and name != subject.FLOOR):
            found.append({**of, "name": name, "held": held, "peak": settled_peak(runs[name])})
    print(".", end="", flush=True, file=sys.stderr)
    return found


def section(given: argparse.Namespace) -> list[dict]:
    """Each operator at one size."""
    wanted = [*QUICK, *([] if given.quick else rows()[1:])]
    wanted = {row[0]: row for row in reversed(wanted) if row[0] in (given.operator or OPERATORS)}
    return [u for f in given.framework for row in wanted.values() for u in apart(used, f, row)]


def tables(found: list[dict]) -> list[str]:
    head = ("framework", "operator", "N × L × C", "", "held between the passes, MiB", "peak, MiB")
    lines = []
    for row in found:
        held = "" if row["held"] is None else f"{row['held'] / MEGABYTE:.1f}"
        cells = [row[key] for key in ("framework", "operator", "size", "name")]
        lines.append([*cells, held, f"{row['peak'] / MEGABYTE:.1f}"])
    return table(head, lines)
