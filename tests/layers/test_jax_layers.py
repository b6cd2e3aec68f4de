"""What only the JAX layers have: Flax's random generators, and signatures that `inspect` reads."""

import importlib
import inspect
from typing import Any

import numpy as np
import pytest

from ..subjects import PRESENT

pytestmark = pytest.mark.skipif("jax" not in PRESENT, reason="JAX is not installed")
DRAWN = {
    "CompactBilinearPool": (3, 8),
    "HierarchicalBilinearPool": ([3, 4], 8),
    "LowRankBilinearClassifier": (3, 5),
    "LowRankBilinearPool": (3, 8),
    "Projection": (3, 2),
}
"""Layers with initial values that are drawn, and their positional arguments."""


def construct(name: str, **arguments: Any) -> Any:
    return getattr(importlib.import_module("bilinear.jax"), name)(*DRAWN[name], **arguments)


def values(layer: Any) -> list[np.ndarray]:
    jax, nnx = importlib.import_module("jax"), importlib.import_module("flax.nnx")
    return [np.asarray(leaf) for leaf in jax.tree.leaves(nnx.state(layer))]


def equal(a: Any, b: Any) -> bool:
    return all(np.array_equal(p, q) for p, q in zip(values(a), values(b), strict=True))


@pytest.mark.parametrize("name", DRAWN)
def test_generators_of_flax_take_the_place_of_the_seed(name: str) -> None:
    nnx = importlib.import_module("flax.nnx")
    rngs = nnx.Rngs(params=1)
    first, second = construct(name, rngs=rngs), construct(name, seed=0, rngs=rngs)
    assert not equal(first, second)  # each draw advances the stream
    assert equal(first, construct(name, seed=5, rngs=nnx.Rngs(params=1)))
    assert equal(first, construct(name, seed=first.seed))


@pytest.mark.parametrize("name", DRAWN)
def test_a_key_is_no_generator_of_flax(name: str) -> None:
    key = importlib.import_module("jax").random.key(0)
    with pytest.raises(TypeError, match=f"{name}: rngs must be a flax.nnx.Rngs"):
        construct(name, rngs=key)


@pytest.mark.parametrize("name", DRAWN)
def test_signatures_are_readable(name: str) -> None:
    kind = getattr(importlib.import_module("bilinear.jax"), name)
    parameters = inspect.signature(kind).parameters
    positional = [p for p in parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert len(positional) == len(DRAWN[name])
    assert "seed" in parameters
    assert "seed" not in inspect.signature(construct(name)).parameters
