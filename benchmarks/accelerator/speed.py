"""Speed: ours, the published formula eager and compiled, and bare products, beside the roofline."""

import functools
from collections.abc import Collection, Mapping
from types import ModuleType

from ..calls import LAYERS, OPERATORS, Size
from ..measure import Spread, time_in_turn
from ..report import MEGABYTE
from .audit import PASSES
from .child import Items, clock, working_calls
from .machine import ARITHMETICS
from .report import Rows, Table
from .roofline import least_milliseconds, work

MEANING = (
    "Median milliseconds of a call of ours, of the published formula eager and compiled, and of "
    "the floor: its bare products, or one read and one write. The roofline is the least time for "
    "the products and the bytes of the arrays at the measured rates. MiB are the peak memory "
    "beyond the inputs."
)
PROJECTED = Size(32, 196, 256, projected=2048)
SIZES = (Size(64, 784), Size(64, 196), PROJECTED, Size(16, 784))
SMALL = (Size(2, 9, 16), Size(2, 9, 16, projected=32))
ON_PROJECTED = ("BilinearPool", "ImprovedBilinearPool", "CovariancePool", "DemocraticPool")
"""The layers that are also measured after a projection."""
VARIANTS = {"OURS": "ours", "EAGER": "formula", "COMPILED": "compiled", "FLOOR": "floor"}
"""Constants of `benchmarks.torch` and `benchmarks.jax` -> columns."""


def items(adapter: ModuleType, device: str, operators: Collection[str]) -> Items:
    """First the largest size, float32, both passes and the first names, then other values of each.

    So a run that ends early has some rows of every kind.
    """
    sizes = SMALL if device == "cpu" else SIZES
    names = dict.fromkeys(("bilinear_pool", *LAYERS, *OPERATORS))
    turns = [
        (i // 4 + j + k + 2 * (not gradient), name, size, arithmetic, gradient)
        for i, name in enumerate(names)
        for j, size in enumerate(sizes)
        for k, arithmetic in enumerate(ARITHMETICS)
        for gradient in (True, False)
        if name in (operators or names) and (not size.projected or name in ON_PROJECTED)
    ]
    return {
        f"{name}, {size}, {arithmetic}, {PASSES[gradient]}": functools.partial(
            _row, adapter, device, name, size, arithmetic, gradient
        )
        for _, name, size, arithmetic, gradient in sorted(turns, key=lambda turn: turn[0])
    }


def _row(
    adapter: ModuleType, device: str, name: str, size: Size, arithmetic: str, gradient: bool
) -> dict:
    dtype = arithmetic.partition(",")[0]
    variants = {getattr(adapter.subject, k): variant for k, variant in VARIANTS.items()}
    with adapter.precision(arithmetic):
        found = adapter.subject.calls(name, size, dtype, gradient, device)
        named = {variants[own]: call for own, call in found.items()}
        calls, problems = working_calls(named, adapter)
        peaks = {variant: adapter.peak(call) for variant, call in calls.items()}
        limit, rounds = (0.0, (2, 2)) if device == "cpu" else (0.5, (5, 20))
        times = time_in_turn(calls, limit, rounds=rounds, clock=clock(adapter))
    flops, moved = work(name, size, dtype, gradient)
    return {
        "operator": name,
        "size": str(size),
        "arithmetic": arithmetic,
        "pass": PASSES[gradient],
        "milliseconds": {k: [1e3 * t for t in Spread.of(v)] for k, v in times.items()},
        "peak": peaks,
        "problems": problems,
        "operations": flops,
        "bytes": moved,
    }


def table_of(rows: Rows, rates: Mapping[str, float]) -> Table:
    times = (*VARIANTS.values(), "roofline")
    head = ("framework", "operator", "N × L × C", "arithmetic", "pass")
    head += (*(f"{name}, ms" for name in times), *(f"{name}, MiB" for name in times[:3]))
    return head, sorted([framework, *_cells(row, rates)] for framework, row in rows)


def _cells(row: dict, rates: Mapping[str, float]) -> list[str]:
    def cell(values: Mapping[str, str], variant: str) -> str:
        return "failed" if variant in row["problems"] else values.get(variant, "")

    median = {k: f"{v[1]:.3f}" for k, v in row["milliseconds"].items()}
    peaks = {k: f"{v / MEGABYTE:.0f}" for k, v in row["peak"].items() if v is not None}
    least = least_milliseconds(row["operations"], row["bytes"], row["arithmetic"], rates)
    return [
        *(row[key] for key in ("operator", "size", "arithmetic", "pass")),
        *(cell(median, variant) for variant in VARIANTS.values()),
        "" if least is None else f"{least:.3f}",
        *(cell(peaks, variant) for variant in ("ours", "formula", "compiled")),
    ]
