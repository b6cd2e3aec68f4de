"""Parity: a sample of the battery on the device, against the reference with its error bounds."""

import dataclasses
import functools
import importlib
from collections.abc import Callable, Collection, Mapping
from types import ModuleType
from typing import Any

from ..calls import Size, make_call
from .child import Items, short
from .report import Rows, Table

MEANING = (
    "The largest ratio of error to derived bound over some singular points, a smooth point and a "
    "larger call, forward and gradient. A ratio of at most 2 passes."
)
ARITHMETICS = ("float32", "float32, TF32", "bfloat16", "float16", "float64")
LARGER = Size(2, 40, 24)
NOT_LARGER = ("tensor_sketch", "random_maclaurin", "low_rank_pool")
NOT_LARGER += ("covariance_pool", "covariance_sqrt", "matrix_sqrt", "democratic_weights")
"""Operators whose bounds would take minutes at this size."""


def items(adapter: ModuleType, device: str, operators: Collection[str]) -> Items:
    """The faster mode first, in every dtype; the driver is the one of the tests."""
    del device  # the driver reads it from the environment
    from bilinear.testing import LAYERS, OPERATORS, ratios  # noqa: PLC0415 - needs pytest

    driver = importlib.import_module("tests.subjects").kit_driver(adapter.LABEL)

    def row(name: str, arithmetic: str, mode: str, points: int) -> dict:
        of = dataclasses.replace(driver, tf32="TF32" in arithmetic)
        checks = _checks(of, name, arithmetic.partition(",")[0], mode, points)
        ratios.WORST.clear()
        problems = {}
        with adapter.precision(arithmetic):
            for label, check in checks.items():
                try:
                    check()
                except Exception as error:
                    problems[label] = short(error)
        worst = max(ratios.WORST.values(), default=0.0)
        found = {"subject": name, "way": mode, "arithmetic": arithmetic, "checks": len(checks)}
        return {**found, "worst": worst, "problems": problems}

    return {
        f"{name}, {arithmetic}, {mode}": functools.partial(row, name, arithmetic, mode, points)
        for mode, points in adapter.POINTS.items()
        for arithmetic in ARITHMETICS
        if mode in driver.modes
        for name in (*OPERATORS, *LAYERS)
        if name in (operators or [name])
    }


def _checks(
    driver: Any, name: str, dtype: str, mode: str, points: int
) -> dict[str, Callable[[], None]]:
    """Comparisons at singular points, at a smooth point, and at one larger size."""
    from bilinear import testing  # noqa: PLC0415
    from bilinear.testing import cases, parity, subjects  # noqa: PLC0415
    from bilinear.testing.battery import COMPILED_FIRST  # noqa: PLC0415

    if name in testing.LAYERS:
        layout = driver.layouts[0]
        calls = list(testing.LAYERS[name].calls(dtype).items())[:points]
        check = functools.partial(parity.check_layer, driver, name, layout=layout, mode=mode)
        return {label: functools.partial(check, maps, **given) for label, (maps, given) in calls}
    edges = testing.OPS[name].edges(dtype)
    labels = sorted(edges, key=lambda label: label not in COMPILED_FIRST)
    found = {label: edges[label] for label in labels[:points]}
    found["smooth"] = testing.OPS[name].smooth(dtype)[-1]
    if name not in NOT_LARGER:
        call, kind = make_call(name, LARGER), testing.DTYPES[dtype]
        arrays = tuple(array.astype(kind) for array in call.arrays)
        found["larger"] = testing.Case(arrays, call.options)

    def compare(label: str, case: testing.Case) -> None:
        cotangent = cases.normal(dtype, *subjects.output_shape(name, case), seed=1)
        testing.check_against_reference(driver, name, case, cotangent, mode=mode, label=label)

    return {label: functools.partial(compare, label, case) for label, case in found.items()}


def table_of(rows: Rows, rates: Mapping[str, float]) -> Table:
    del rates
    cells: dict[tuple[str, str, str], dict[str, str]] = {}
    for framework, row in rows:
        cell = "failed" if row["problems"] else f"{row['worst']:.2f}"
        cells.setdefault((framework, row["subject"], row["way"]), {})[row["arithmetic"]] = cell
    lines = [[*key, *(of.get(one, "") for one in ARITHMETICS)] for key, of in cells.items()]
    return ("framework", "operator or layer", "way", *ARITHMETICS), lines
