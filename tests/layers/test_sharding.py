"""Layers with a batch that is sharded between two devices, under the engines of each framework."""

import os

import numpy as np
import pytest

from bilinear.testing import LAYERS, battery
from bilinear.testing.cases import normal
from bilinear.testing.parity import check_layer

from ..drivers.sharding import KIT_DRIVERS, on_each
from ..tolerances import RECOMPUTED

if not KIT_DRIVERS or os.environ["BILINEAR_TEST_DEVICE"] != "cpu":
    pytest.skip("these tests need a framework, and CPU devices", allow_module_level=True)

TestLayers = pytest.mark.full(battery(*KIT_DRIVERS.values(), operators=()))

needs_jax = pytest.mark.skipif("jax-explicit" not in KIT_DRIVERS, reason="JAX is not installed")


@needs_jax
def test_arrays_are_sharded_like_the_batch() -> None:
    """Such as the zeros that entries are added to, in a mesh with explicit axes.

    The last row is about the product with bfloat16 inputs, whose derivatives are not those of JAX.
    """
    for name, dtype, label in (
        ("BilinearPool", "float32", "packed"),
        ("CompactBilinearPool", "float32", "one stream"),
        ("CovariancePool", "float32", "one stream"),
        ("LowRankBilinearClassifier", "float32", "one stream"),  # of rank 1, so u_minus is empty
        ("LowRankBilinearPool", "bfloat16", "one stream"),
    ):
        maps, arguments = LAYERS[name].calls(dtype)[label]
        check_layer(KIT_DRIVERS["jax-explicit"], name, maps, **arguments)


@needs_jax
@pytest.mark.full
def test_unpooled_sketches_of_a_sharded_batch() -> None:
    (results,) = on_each("jax", "unpooled_sketches", normal("float32", 4, 6, 5))
    np.testing.assert_allclose(*results, **RECOMPUTED)


@needs_jax
@pytest.mark.full
def test_scores_of_a_sharded_batch() -> None:
    x, weight = normal("float32", 2, 12, 5), normal("float32", 3, 25, seed=1)
    (results,) = on_each("jax", "scores", x, weight)
    for single, sharded in zip(*results, strict=True):
        np.testing.assert_allclose(sharded, single, **RECOMPUTED)
