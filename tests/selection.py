"""The tests that only ``--full`` runs: those with the marker `full`, and repetitions.

A repetition runs a similar test again: with another dtype of the same accumulation dtype, another
transform of the same kind, or a second compilation of the same graph. CONTRIBUTING.md lists them.
"""

import os
from typing import Any

import pytest

from bilinear.testing import DTYPES, LAYERS, OPERATORS, Driver

from .subjects import PRESENT, driver

FULL = os.environ.get("BILINEAR_TEST_FULL") == "1"

PAIRS = [("float32", "bfloat16"), ("float64", "float16")]
"""A full-precision and a half-precision dtype; successive operators alternate between the pairs."""


LONG_IN_JAX = ("bilinear_scores", "covariance_sqrt")
"""Operators whose programs JAX compiles longest; their parts have the same singular points."""
INDUCTOR = ("bilinear_pool",)
"""The operator that contains the others with a comparison that must propagate NaN."""


def only_full(item: pytest.Item) -> bool:
    """Return whether a test runs only with ``--full``."""
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
    """Run one pair of dtypes; in JAX, its full-precision dtype for every second operator.

    JAX compiles each shape. The other operators have NaN cotangents at the same points.
    """
    turn = OPERATORS.index(op)
    pair = PAIRS[turn % 2]
    if driver.name == "jax":
        return dtype != pair[0] or turn % 4 < 2 or op in LONG_IN_JAX
    return driver.name != "reference" and dtype not in pair


def _nan_cotangent(driver: Driver, op: str, dtype: str) -> bool:
    """Run the same pair, in JAX its half-precision dtype for every second operator."""
    turn = OPERATORS.index(op)
    pair = PAIRS[turn % 2]
    if driver.name == "jax":
        return dtype != pair[1] or turn % 4 > 1 or op in LONG_IN_JAX
    return driver.name != "reference" and dtype not in pair


def _each_other(drivers: tuple, op: str, dtype: str) -> bool:
    """Run every fifth operator, each in another dtype."""
    turn, other = divmod(OPERATORS.index(op), 5)
    return bool(other) or dtype != list(DTYPES)[turn % len(DTYPES)]


def _compiled(driver: Driver, op: str, dtype: str, mode: str) -> bool:
    """Run float32 with the compiler that fuses operations, with the others for every third."""
    fuses = mode == next(m for m in driver.modes[1:] if m != "function")
    return dtype != "float32" or not (fuses or OPERATORS.index(op) % 3 == 0)


def _adjoint(driver: Driver, op: str, way: str) -> bool:
    """Run the first transform only: `test_jvp` compares all with the reference.

    In JAX, it runs for every second operator.
    """
    later = way != next(iter(driver.jvps))
    return later or (driver.name == "jax" and OPERATORS.index(op) % 2 > 0)


def _layer(driver: Driver, name: str, layout: str, dtype: str) -> bool:
    """Run float32 in the first layout, other layouts and bfloat16 for every second layer.

    In JAX, run either float32 or bfloat16. With Keras, run one row of every third layer, on JAX.
    """
    position = list(LAYERS).index(name)
    if driver.name.startswith("keras-"):
        dtypes = [dtype for dtype in DTYPES if dtype != "float32"]  # whose calls are more
        row = dtypes[position // 3 % 3], driver.layouts[position % 2]
        return driver.name != "keras-jax" or position % 3 > 0 or (dtype, layout) != row
    first, turn = layout == driver.layouts[0], position % 2
    always = first and driver.name != "jax"
    return not (
        (dtype == "float32" and (always or turn)) or (dtype == "bfloat16" and first and not turn)
    )


def _inductor(op: str) -> bool:
    return op not in INDUCTOR


def _turns(kind: str, always: int):
    """Run the first `always` transforms for every operator, and the others for one in eight.

    In bfloat16, the first one runs for every second operator.
    """

    def rule(op: str, backend: str, transform: str, dtype: str = "float64") -> bool:
        position = list(getattr(driver(backend), kind)).index(transform)
        turn = OPERATORS.index(op)
        if dtype == "bfloat16":
            return position > 0 or turn % 2 > 0
        return position >= always and (position + turn) % 8 > 0

    return rule


def _unless(**values: Any):
    """Select every row except those whose parameters have these values."""

    def rule(**parameters: Any) -> bool:
        return any(parameters[name] not in wanted for name, wanted in values.items())

    return rule


LOWERED = [("bfloat16", "cuda"), ("float32", "tpu")]
BOTH = ("vgg16 and resnet18",)
"""A model with both backbones, which contains every layer of the other models."""
FIRST = PRESENT[:1]
EXPLAINED = ("two maps of two sizes", "bfloat16")
POOLS = ("plain", "packed", "integer tables", "tables of signs", "learned", "within", "classifier")
POOLS += ("three maps", "covariance", "root")
"""Cases of saved models that together have every kind of pool and tensor."""
OLD_FILES = ("bilinear_half", "compact_sketch", "hierarchical", "low_rank_classifier")
"""Files of an earlier version with a renamed argument, or with tensors of the pool."""

COMPILED = ("flax", "frameworks", "precision")
"""Tutorials that take half a minute, because a compiler runs."""

ELSEWHERE = {
    "test_one_file_on_every_backend": lambda **_: True,
    "test_layers_compute_as_their_dtype_policy_says": lambda **_: True,
    "test_models_compute_as_their_dtype_policy_says": _unless(
        backend=("jax",), policy=("mixed_bfloat16",)
    ),
    # models: whole networks take most of the time
    "test_logits_gradients_and_statistics_agree": _unless(
        architecture=("resnet50 to layer1",), training=(True,)
    ),
    "test_float32_errs_no_more_than_the_other_frameworks": lambda **_: True,
    "test_descriptors_and_feature_maps": _unless(architecture=BOTH),
    "test_extreme_sizes": lambda **_: True,
    "test_inputs_of_explain_are_equal_in_every_framework": _unless(case=EXPLAINED),
    "test_three_ways_give_one_model": _unless(backend=FIRST),
    "test_weights_from_a_file_set_the_backbones_and_leave_the_classifier": _unless(backend=FIRST),
    "test_native_export_gives_equal_logits": _unless(backend=FIRST),
    "test_an_exported_model_gives_the_logits": _unless(with_preprocessing=(True,)),
    "test_every_framework_opens_the_files_of_every_other": _unless(architecture=BOTH),
    "test_two_streams_with_custom_backbones": _unless(backend=FIRST),
    "test_custom_backbone_with_several_feature_maps": _unless(backend=FIRST),
    "test_one_file_in_every_framework": _unless(case=POOLS),
    "test_old_file_gives_its_logits": lambda name, backend: (
        backend not in FIRST and name not in OLD_FILES
    ),
    # training: 20 float64 steps of one network; processes are killed in one framework; the cache
    # of each engine is tested without the command
    "test_runs_agree_and_can_change_their_framework": lambda **_: True,
    "test_float32_runs_diverge_no_faster_than_a_perturbed_run": lambda **_: True,
    "test_the_cache_is_reported_and_reused": _unless(backend=FIRST),
    "test_heads_are_measured": _unless(framework=FIRST),
    "test_a_trained_model_is_evaluated": _unless(backend=FIRST),
    "test_a_view_for_each_epoch_equals_the_run_without_a_cache": _unless(backend=FIRST),
    "test_a_run_with_all_options_resumes": _unless(backend=FIRST),
    "test_a_killed_command_gives_the_files_of_an_uninterrupted_one": _unless(framework=FIRST),
    "test_kills_and_ctrl_c_with_a_cache_and_a_worker": lambda **_: True,
    "test_sigterm_leaves_nothing_behind": lambda **_: True,
    # documents: README commands in one framework; benchmarks, which users do not run
    "test_the_commands_run_as_printed": _unless(framework=FIRST),
    "test_the_code_prints_the_output_shown": lambda name: name in COMPILED,
    "test_every_vector_passes": _unless(subject=("reference", *FIRST)),
    "test_the_whole_demo_in_small": lambda **_: True,
    "test_a_run_writes_its_result": lambda **_: True,
    "test_operators_and_layers_are_measured": lambda **_: True,
    "test_little_is_held_between_the_passes": _unless(dtype=("float32",)),
    "test_little_is_held_by_a_tape": lambda **_: True,
    "test_the_peak_of_a_step_includes_its_gradients": lambda **_: True,
    "test_memory_stays_within_a_multiple_of_the_arrays": lambda **_: True,
    "test_peaks_include_held_memory": lambda **_: True,
    "test_plain_networks_agree_with_the_models": lambda **_: True,
    "test_rows_that_are_not_measured_again_stay": lambda **_: True,
    "test_an_epoch_with_cached_feature_maps_is_measured": _unless(backend=FIRST),
    "test_growth_is_measured": _unless(backend=FIRST),
    "test_heads_are_measured_and_agree": lambda **_: True,
    "test_scores_copy_no_weight": lambda **_: True,
}
"""Tests outside tests/operators by name; each rule selects the rows that only ``--full`` runs."""

RULES = {
    **ELSEWHERE,
    "test_edges": _edges,
    "test_nan_cotangent": _nan_cotangent,
    "test_each_other": _each_other,
    "test_compiled": _compiled,
    "test_adjoint": _adjoint,
    "test_value_and_gradient_lower_for_other_platforms": lambda op, dtype, platform: (
        (dtype, platform) not in LOWERED
    ),
    "test_law": lambda driver, **_: driver.name not in ("reference", *FIRST),
    "test_exact": _unless(dtype=("float32", "bfloat16")),
    "test_forward_derivative_of_a_forward_derivative": lambda op, backend: OPERATORS.index(op) % 2,
    "test_larger_and_clustered_matrices": _unless(backend=FIRST),
    "test_ties_share_the_gradient_exactly": _unless(dtype=("float32",), masked=(True,)),
    "test_bilinear_pool_of_many_channels": _unless(dtype=("float32",)),
    "test_layer": _layer,
    "test_jvp": _turns("jvps", 1),
    "test_second_derivative": _turns("hvps", 1),
    "test_vmap_over_every_argument": _turns("vmaps", 1),
    "test_global_settings_do_not_change_results": _turns("global_settings", 0),
    "test_singular_points_compiled_by_inductor": _inductor,
    "test_wrappers": _turns("wrappers", 1),
    "test_gradient_checkers_of_the_frameworks_pass": lambda **_: True,
}

assert set(DTYPES) == {dtype for pair in PAIRS for dtype in pair}
