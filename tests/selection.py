"""The tests that only ``--full`` runs: the marker `full`, and repetitions of a rule.

A repetition does again what another row does: with another dtype of the same arithmetic, another
transform of the same kind, a second compilation of the same graph. CONTRIBUTING.md lists them.
"""

import os
from typing import Any

import pytest

from bilinear.testing import DTYPES, OPERATORS, Driver

from .subjects import PRESENT, driver

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


def _unless(**values: Any):
    """Everything but the rows whose parameters have these values."""

    def rule(**parameters: Any) -> bool:
        return any(parameters[name] not in wanted for name, wanted in values.items())

    return rule


BOTH = ("vgg16 and resnet18",)
"""The model of two networks: each layer of the others is in it."""
FIRST = PRESENT[:1]

ELSEWHERE = {
    # models: full networks take the most time
    "test_logits_gradients_and_statistics_agree": _unless(architecture=(*BOTH, "resnet18")),
    "test_float32_errs_no_more_than_the_other_frameworks": _unless(architecture=BOTH),
    "test_descriptors_and_feature_maps": _unless(architecture=BOTH),
    "test_initial_weights_are_equal_in_every_door": _unless(architecture=BOTH),
    "test_initial_weights_are_equal_in_every_namespace": _unless(architecture=BOTH),
    "test_extreme_sizes": _unless(size=[(17, 40)]),
    # training: 20 steps in float64 of one network; commands are killed in one framework
    "test_runs_agree_and_may_change_framework_half_way": _unless(backbone=("resnet18",)),
    "test_float32_runs_part_as_one_does_from_itself": lambda **_: True,
    "test_a_killed_command_gives_the_files_of_an_uninterrupted_one": _unless(framework=FIRST),
    # documents: the commands of the README in one framework; benchmarks, which users do not run
    "test_the_commands_run_as_printed": _unless(framework=FIRST),
    "test_the_whole_demo_in_small": lambda **_: True,
    "test_little_is_held_between_the_passes": _unless(dtype=("float32",)),
    "test_memory_stays_within_a_multiple_of_the_arrays": lambda **_: True,
    "test_peaks_include_held_memory": lambda **_: True,
    "test_plain_networks_agree_with_the_models": _unless(backend=FIRST),
    "test_an_epoch_with_cached_feature_maps_is_measured": _unless(backend=FIRST),
    "test_growth_is_measured": _unless(backend=FIRST),
    "test_heads_are_measured_and_agree": _unless(backend=FIRST),
    "test_scores_copy_no_weight": lambda **_: True,
}
"""Rows of the other folders, by the name of their test."""

RULES = {
    **ELSEWHERE,
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
