"""Growth of memory and time of `bilinear_pool`: peaks at large shapes, exponents of the cost."""

import argparse
import importlib
import sys
from collections.abc import Sequence

from bilinear.contract.pooling import packed_size

from .calls import Size
from .measure import (
    Spread,
    exponent,
    in_new_process,
    peak_after_warm_up,
    return_freed_memory,
    time_in_turn,
)
from .report import MEGABYTE, spread, table

LARGE = (Size(1, 49, 2048), Size(4, 196, 2048), Size(64, 1024, 128), Size(64, 1024, 512))
"""Many channels, and many locations in a large batch."""

BASE = Size(8, 784, 512)
GROWING = {
    "samples": (4, 8, 16, 32),
    "locations": (196, 392, 784, 1568),
    "channels": (256, 512, 1024, 2048),
}
"""Extents that grow from `BASE`. With fewer channels, the term N·L·C would dominate N·L·C²."""


def peaks(
    framework: str, rows: Sequence[tuple[Size, str]], *, only_ours: bool = False
) -> list[dict]:
    """Peak memory of one pass, and the bytes of its arrays, with one thread in this process.

    The arrays are input and output, and with the gradient also the gradient of the input and the
    cotangent. Half-precision arrays count as float32, in which they are computed.
    """
    return_freed_memory()
    subject = importlib.import_module(f"{__package__}.{framework}")
    subject.threads(1)
    found = []
    for size, dtype in rows:
        n, locations, c, *_ = size
        out = packed_size(c) if size.packed else c * c
        for gradient in (False, True):
            arrays = 4 * n * (size.streams * locations * c + out) * (1 + gradient)
            runs = subject.runs("bilinear_pool", size, dtype, gradient, "cpu")
            for name, run in runs.items():
                if name == subject.FLOOR or (only_ours and not name.startswith("ours")):
                    continue
                row = {"framework": subject.VERSION, "size": str(size), "dtype": dtype}
                row |= {"name": name, "pass": "forward + backward" if gradient else "forward"}
                found.append({**row, "arrays": arrays, "peak": peak_after_warm_up(run)})
            print(".", end="", flush=True, file=sys.stderr)
    return found


def growth(
    framework: str, seconds: float, threads: int | None, sizes: dict = GROWING, base: Size = BASE
) -> list[dict]:
    """Times of ours as one extent grows, and the exponents of the rounds with quartiles."""
    subject = importlib.import_module(f"{__package__}.{framework}")
    if threads is not None:
        subject.threads(threads)
    found = []
    for axis, extents in sizes.items():
        for gradient in (False, True):
            runs = {}
            for extent in extents:
                size = base._replace(**{axis: extent})
                of = subject.runs("bilinear_pool", size, "float32", gradient, "cpu")
                runs |= {f"{name}, {extent}": of[name] for name in subject.BEST[subject.OURS]}
            times = time_in_turn(runs, seconds)
            names = subject.BEST[subject.OURS]
            best = [
                min(
                    (times[f"{name}, {extent}"] for name in names),
                    key=lambda t: Spread.of(t).median,
                )
                for extent in extents
            ]
            row = {"framework": subject.VERSION, "axis": axis, "extents": extents}
            row["pass"] = "forward + backward" if gradient else "forward"
            row["ms"] = [Spread.of([1e3 * t for t in of]) for of in best]
            slopes = [exponent(extents, of_round) for of_round in zip(*best, strict=True)]
            found.append({**row, "exponent": Spread.of(slopes)})
            print(".", end="", flush=True, file=sys.stderr)
    return found


def section(given: argparse.Namespace) -> dict:
    large = [(size, "float32") for size in (LARGE[::2] if given.quick else LARGE)]
    extents = {k: v[:3] for k, v in GROWING.items()} if given.quick else GROWING
    how = given.seconds, given.threads, extents
    return {
        "peaks": [row for f in given.framework for row in in_new_process(peaks, f, large)],
        "growth": [row for f in given.framework for row in in_new_process(growth, f, *how)],
    }


def tables(found: dict) -> list[str]:
    head = (
        "framework",
        "N × L × C",
        "pass",
        "variant",
        "arrays, MiB",
        "peak, MiB",
        "peak ÷ arrays",
    )
    lines = []
    for row in found["peaks"]:
        cells = [row[key] for key in ("framework", "size", "pass", "name")]
        cells += [f"{row[key] / MEGABYTE:.1f}" for key in ("arrays", "peak")]
        lines.append([*cells, f"{row['peak'] / row['arrays']:.2f}"])
    grown = []
    for row in found["growth"]:
        of = ", ".join(map(str, row["extents"]))
        times = ", ".join(spread(*t, digits=1) for t in row["ms"])
        cells = [row[key] for key in ("framework", "pass", "axis")]
        grown.append([*cells, of, times, spread(*row["exponent"])])
    shape = f"extents (others as in {BASE})"
    titles = ("framework", "pass", "axis", shape, "ms", "exponent")
    return [*table(head, lines), "", *table(titles, grown)]
