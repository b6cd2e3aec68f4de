"""The tests that only ``--full`` runs: the marker `full`, and repetitions of a rule.

A repetition does again what another row does: with another dtype of the same arithmetic, another
transform of the same kind, a second compilation of the same graph. CONTRIBUTING.md lists them.
"""

import os

import pytest

from bilinear.testing import DTYPES, OPERATORS, Driver

from .subjects import driver

FULL = os.environ.get("BILINEAR_TEST_FULL") == "1"

PAIRS = [("float32", "bfloat16"), ("float64", "float16")]
"""One wide dtype and one in half precision: neighbouring operators take turns."""


INDUCTOR = ("signed_sqrt", "l2_normalize", "bilinear_pool", "bilinear_scores", "outer_max_pool")
"""Operators with code of their own for PyTorch's compiler, or with a comparison to keep NaN by."""


def only_full(item: pytest.Item) -> bool:
    """Whether a test is left out unless ``--full`` is given."""
    if item.get_closest_marker("full"):
        return True
    rule = RULES.get(getattr(item, "originalname", ""))
    if rule is None:
        return False
    parameters = dict(getattr(getattr(item, "callspec", None), "params", {}))
    if op := getattr(getattr(item, "cls", None), "op", None):
        parameters["op"] = op
    return rule(**parameters)


def _edges(driver: Driver, op: str, dtype: str) -> bool:
    turn = OPERATORS.index(op) % 2
    return driver.name != "reference" and dtype not in ("float32", "bfloat16", PAIRS[1][turn])


def _nan_cotangent(driver: Driver, op: str, dtype: str) -> bool:
    return driver.name != "reference" and dtype not in PAIRS[OPERATORS.index(op) % 2]


def _ring(drivers: tuple, op: str, dtype: str) -> bool:
    return dtype not in PAIRS[1 - OPERATORS.index(op) % 2]


def _compiled(driver: Driver, op: str, dtype: str, mode: str) -> bool:
    """float32 by each compiler; bfloat16, with the casts around it, by the one that fuses."""
    fuses = mode == next(m for m in driver.modes[1:] if m != "function")
    return dtype != "float32" and not (fuses and dtype == "bfloat16")


def _adjoint(driver: Driver, op: str, way: str) -> bool:
    """`test_jvp` compares the same tangents with the reference."""
    return way != next(iter(driver.jvps))


def _layer(driver: Driver, name: str, layout: str, dtype: str) -> bool:
    first = layout == driver.layouts[0]
    return not (dtype == "float32" or (first and dtype == "bfloat16"))


def _inductor(op: str) -> bool:
    return op not in INDUCTOR


def _turns(kind: str, always: int, once_in: int = 3):
    """The first transforms of each framework; the others for one operator in three each."""

    def rule(op: str, backend: str, transform: str, dtype: str = "float64") -> bool:
        place = list(getattr(driver(backend), kind)).index(transform)
        if dtype == "bfloat16":
            return place > 0
        return place >= always and (place + OPERATORS.index(op)) % once_in > 0

    return rule


RULES = {
    "test_edges": _edges,
    "test_nan_cotangent": _nan_cotangent,
    "test_ring": _ring,
    "test_compiled": _compiled,
    "test_adjoint": _adjoint,
    "test_layer": _layer,
    "test_jvp": _turns("jvps", 2),
    "test_second_derivative": _turns("hvps", 2),
    "test_vmap_over_every_argument": _turns("vmaps", 1),
    "test_ambient_settings_change_nothing": _turns("ambients", 1),
    "test_hard_points_compiled_by_inductor": _inductor,
    "test_shells": _turns("shells", 1),
    "test_the_frameworks_own_checks_pass": _turns("checks", 0),
}

assert set(DTYPES) == {dtype for pair in PAIRS for dtype in pair}
