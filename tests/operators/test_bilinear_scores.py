"""`bilinear_scores`: the common tests, a missing bias, models."""

import importlib
from pathlib import Path

import numpy as np
import pytest

from bilinear.testing import Case, assert_within, truth
from bilinear.testing.cases import normal

from ..agreement import relative_error
from ..subjects import driver, over_backends
from ..tolerances import LOGITS
from .suite import MAP, VALID, operator_tests

WEIGHT, BIAS = normal("float64", 2, 9, seed=2), normal("float64", 2, seed=3)
TestReference, TestParity, TestTransforms = operator_tests(
    "bilinear_scores",
    Case((MAP, WEIGHT), {"l2_eps": 1000.0}),
    Case((MAP, WEIGHT[:, :6], BIAS), {"mask": VALID, "packed": True, "eps": 0.0}),
)


@over_backends
def test_two_streams_without_bias(backend: str) -> None:
    x, y = normal("float32", 2, 4, 3), normal("float32", 2, 4, 2, seed=1)
    weight, zero = normal("float32", 5, 6, seed=2), np.zeros(5, np.float32)
    without = driver(backend).forward("bilinear_scores", [x, weight], {"y": y, "bias": None})
    case = Case((x, weight, zero, y))
    assert_within(without, truth("bilinear_scores", case), "float32", backend)


@over_backends
@pytest.mark.parametrize("packed", [False, True])
def test_logits_of_a_model(packed: bool, backend: str) -> None:
    bcnn, images = driver(backend), normal("float32", 3, 12, 10, 3)
    pool = bcnn.pool(packed=packed)
    model = bcnn.model(bcnn.custom_network(20), 4, channels=20, pool=pool)
    (maps,) = bcnn.feature_maps(model, images)
    features = maps.reshape(3, -1, 20)
    weights = [bcnn.tensors(model)[f"classifier.{name}"] for name in ("weight", "bias")]
    scores = bcnn.forward("bilinear_scores", [features, *weights], {"packed": packed})
    assert relative_error(scores, bcnn.logits(model, images)) < LOGITS["float32"]


@pytest.mark.skipif(
    not (Path(__file__).parents[2] / "benchmarks").is_dir(),
    reason="there is no benchmarks folder",
)
@over_backends
def test_scores_copy_no_weight(backend: str) -> None:
    """The memory of the process shows that at most two blocks of the weight exist at a time."""
    measure = importlib.import_module("benchmarks.measure")
    head = importlib.import_module("benchmarks.head")
    subject = importlib.import_module(f"benchmarks.{backend}")
    size = importlib.import_module("benchmarks.calls").Size(4, 49, 256)
    name = subject.BEST[subject.OURS][0]
    weight = 4 * head.CLASSES * 256**2  # 50 MiB
    arguments = backend, "inference", name, size, 4  # threads, which could copy in parallel
    assert measure.in_new_process(head.memory, *arguments) <= weight / 3
