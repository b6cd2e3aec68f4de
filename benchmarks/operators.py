"""Times of every operator and layer, with ratios to the published formula and the floor."""

import argparse
import importlib
import sys
from collections.abc import Sequence

from .calls import FEW_LOCATIONS, LAYERS, LOCATIONS, OPERATORS, SIZES, Size
from .measure import compare, in_new_process, ratios, time_in_turn
from .report import spread, table

QUICK = [("bilinear_pool", Size(16, 784), "float32")]
SLOWER = 1.05
"""Ours counts as slower if the lower quartile of a ratio is above this value."""

FORMULAS = {"eager": "÷ formula", "compiled": "÷ compiled"}
"""Baseline -> column title."""

Row = tuple[str, Size, str]
"""Operator or layer, size and dtype."""


def rows() -> list[Row]:
    sizes = [Size(n, locations) for locations in LOCATIONS.values() for n in (1, 16, 64)]
    found = [("bilinear_pool", size, "float32") for size in sizes]
    for locations in LOCATIONS.values():
        found.append(("bilinear_pool", Size(16, locations, streams=2), "float32"))
        found.append(("bilinear_pool", Size(16, locations), "bfloat16"))
        found.append(("bilinear_pool", Size(16, locations, packed=True), "float32"))
    others = [op for op in (*OPERATORS, *LAYERS) if op != "bilinear_pool"]
    found += [(op, SIZES.get(op, Size(16, 784)), "float32") for op in others]
    return found + [("CovariancePool", size, "float32") for size in FEW_LOCATIONS]


def select_rows(given: argparse.Namespace) -> list[Row]:
    """The rows to measure. ``--quick`` selects one size of each operator."""
    if given.quick:
        sizes = {row[0]: row for row in reversed([*QUICK, *rows()[1:]])}
        return [sizes[op] for op in given.operator] if given.operator else QUICK
    return [row for row in rows() if row[0] in (given.operator or [row[0]])]


def measure(
    framework: str,
    selected: list[Row],
    seconds: float,
    device: str,
    passes: Sequence[bool] = (False, True),
    threads: int | None = None,
) -> list[dict]:
    """Measure the rows of one framework, in this process. True in `passes`: with gradient."""
    subject = importlib.import_module(f"{__package__}.{framework}")
    if threads is not None:
        subject.threads(threads)
    results, ours = [], subject.BEST[subject.OURS]
    for op, size, dtype in selected:
        for gradient in passes:
            runs = subject.runs(op, size, dtype, gradient, device)
            if size.packed:  # also time the full descriptor
                full = subject.runs(op, size._replace(packed=False), dtype, gradient, device)
                runs |= {f"full, {name}": full[name] for name in ours}
            times = time_in_turn(runs, seconds)
            row = {
                "framework": subject.VERSION,
                "operator": op,
                "size": str(size),
                "dtype": dtype,
                "pass": "forward + backward" if gradient else "forward",
            }
            row |= compare(times, subject)
            if size.packed:
                best = min(ours, key=row["milliseconds"].get)
                full = min((f"full, {name}" for name in ours), key=row["milliseconds"].get)
                row["ratios"]["full"] = ratios(times, best, full)
            results.append(row)
            print(".", end="", flush=True, file=sys.stderr)
    return results


def section(given: argparse.Namespace) -> list[dict]:
    wanted, how = select_rows(given), (given.seconds, given.device, (False, True), given.threads)
    return [row for f in given.framework for row in in_new_process(measure, f, wanted, *how)]


def tables(found: list[dict]) -> list[str]:
    """A row for each operator, size, dtype and pass."""
    return _table(found, {**FORMULAS, "floor": "÷ floor", "full": "÷ full"})


def slower(found: list[dict]) -> list[str]:
    """List the rows in which ours is slower than the formula."""
    rows = [r for r in found if any(r["ratios"][b][0] > SLOWER for b in FORMULAS)]
    if not rows:
        which = "In every row, the lower quartiles of ours ÷ formula and of ours ÷ compiled are"
        return ["", f"{which} at most {SLOWER}."]
    which = "In these rows, the lower quartile of ours ÷ formula or of ours ÷ compiled is above"
    return ["", f"{which} {SLOWER}:", "", *_table(rows, FORMULAS)]


def _table(found: list[dict], baselines: dict[str, str]) -> list[str]:
    head = ("framework", "operator", "N × L × C", "dtype", "pass", "ms", *baselines.values())
    lines = []
    for row in found:
        cells = [row[key] for key in ("framework", "operator", "size", "dtype", "pass")]
        spreads = (row["ratios"].get(b) for b in baselines)
        cells += [f"{row['own']:.1f}", *(spread(*s) if s else "" for s in spreads)]
        lines.append(cells)
    return table(head, lines)
