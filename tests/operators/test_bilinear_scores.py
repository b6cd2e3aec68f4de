"""`bilinear_scores`: the battery, transforms, blocks of the weight, a missing bias, models."""

import importlib
from pathlib import Path

import numpy as np
import pytest

from bilinear import reference
from bilinear.backends.row_blocks import BLOCKS, entries, row_blocks
from bilinear.testing import Case, assert_within, truth
from bilinear.testing.cases import normal

from ..agreement import relative_error
from ..subjects import driver
from ..tolerances import LOGITS
from .suite import (
    MAP,
    OTHER,
    VALID,
    Derivation,
    Transforms,
    check_complex_step,
    over_backends,
    parity,
    specification,
)

TestReference = specification("bilinear_scores")
TestParity = parity("bilinear_scores")

WEIGHT, BIAS = normal("float64", 2, 9, seed=2), normal("float64", 2, seed=3)


class TestDerivation(Derivation):
    op = "bilinear_scores"


class TestTransforms(Transforms):
    op = "bilinear_scores"


@pytest.mark.parametrize(
    ("arrays", "options"),
    [
        ((MAP, WEIGHT, None, None), (None, "mean", 1e-10, 1e-12, False)),
        ((MAP, WEIGHT[:, :6], BIAS, OTHER), (VALID, "sum", 0.0, 1e-12, False)),
        ((MAP, WEIGHT[:, :6], BIAS, None), (VALID, "mean", 1e-05, 1000.0, True)),
    ],
)
def test_vjp_is_the_complex_step_derivative(arrays: tuple, options: tuple) -> None:
    check_complex_step("bilinear_scores", arrays, options)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("channels", [1, 3, 8, 9, 64, 100])
def test_blocks_concatenate_to_the_descriptor(channels: int, packed: bool) -> None:
    g = np.arange(channels**2).reshape(channels, channels)
    flat = g[np.triu_indices(channels)] if packed else g.ravel()
    blocks = row_blocks(channels)
    assert len(blocks) <= BLOCKS
    parts = [flat[entries(rows, channels, packed)] for rows in blocks]
    np.testing.assert_array_equal(np.concatenate(parts), flat)
    for rows, part in zip(blocks, parts, strict=True):
        own = [g[r, r if packed else 0 :] for r in range(channels)[rows]]
        np.testing.assert_array_equal(part, np.concatenate(own))


def test_scores_are_linear_in_the_descriptor() -> None:
    x, weight, bias = normal("float64", 2, 4, 3), normal("float64", 5, 9), normal("float64", 5)
    scores = reference.bilinear_scores(x, weight, bias)
    np.testing.assert_array_equal(scores, reference.bilinear_pool(x) @ weight.T + bias)


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
    own, images = driver(backend), normal("float32", 3, 12, 10, 3)
    pool = own.pool(packed=packed)
    model = own.model(own.custom_network(20), 4, channels=20, pool=pool)
    (maps,) = own.feature_maps(model, images)
    features = maps.reshape(3, -1, 20)
    weights = [own.tensors(model)[f"classifier.{name}"] for name in ("weight", "bias")]
    scores = own.forward("bilinear_scores", [features, *weights], {"packed": packed})
    assert relative_error(scores, own.logits(model, images)) < LOGITS["float32"]


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
