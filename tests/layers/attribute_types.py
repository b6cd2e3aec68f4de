"""The types of the attributes of layers, which pyright checks (``nox -s types``); nothing runs."""

from collections.abc import Sequence
from typing import Any, assert_type

from bilinear import jax, keras, torch
from bilinear.contract import Norm, Reduction, Root
from bilinear.contract.low_rank import Activation
from bilinear.contract.matrices import Method, Normalize
from bilinear.contract.sketches import SketchMethod


def bilinear_pool(pool: torch.BilinearPool | keras.BilinearPool | jax.BilinearPool) -> None:
    assert_type(pool.reduction, Reduction)
    assert_type(pool.packed, bool)
    assert_type(pool.root, Root)
    assert_type(pool.slope_eps, float | None)
    assert_type(pool.norm, Norm)


def covariance_pool(pool: torch.CovariancePool | keras.CovariancePool | jax.CovariancePool) -> None:
    assert_type(pool.method, Method)
    assert_type(pool.steps, int)
    assert_type(pool.normalize, Normalize)
    assert_type(pool.tol, float | None)
    assert_type(pool.isometric, bool)


def compact_bilinear_pool(
    pool: torch.CompactBilinearPool | keras.CompactBilinearPool | jax.CompactBilinearPool,
) -> None:
    assert_type(pool.channels, int | Sequence[int])
    assert_type(pool.dim, int)
    assert_type(pool.method, SketchMethod)
    assert_type(pool.seed, int | None)
    assert_type(pool.eps, float)
    assert_type(pool.l2_eps, float)


def low_rank_bilinear_pool(
    pool: torch.LowRankBilinearPool | keras.LowRankBilinearPool | jax.LowRankBilinearPool,
) -> None:
    assert_type(pool.rank, int)
    assert_type(pool.activation, Activation)


def other_layers(
    classifier: torch.LowRankBilinearClassifier | keras.LowRankBilinearClassifier,
    democratic: torch.DemocraticPool | keras.DemocraticPool | jax.DemocraticPool,
    hierarchical: torch.HierarchicalBilinearPool | jax.HierarchicalBilinearPool,
    projection: torch.Projection | keras.Projection | jax.Projection,
) -> None:
    assert_type(classifier.num_classes, int)
    assert_type(democratic.pool, Any)
    assert_type(democratic.gamma, float)
    assert_type(hierarchical.channels, Sequence[int])
    assert_type(projection.channels, int)
