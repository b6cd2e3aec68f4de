"""The description of a pool in a file, without any framework."""

import json

import numpy as np
import pytest

from bilinear.models import checkpoint, plans
from bilinear.models.description import Custom, Description

from .test_checkpoint import POOL, assert_same, both_ways, describe, tiny

SEEDED = {"channels": 2, "seed": 0, "reduction": "mean"}
EPS = {"eps": 1e-10, "l2_eps": 1e-12}
SKETCH = SEEDED | EPS | {"name": "CompactBilinearPool", "dim": 4, "method": "tensor_sketch"}
SCORES = SEEDED | {"name": "LowRankBilinearClassifier", "num_classes": 3, "rank": 3}
LEVELS = SEEDED | EPS | {"name": "HierarchicalBilinearPool", "channels": [2, 3], "dim": 4}
DEMOCRATIC = {"name": "DemocraticPool", "pool": SKETCH, "gamma": 0.5, "damping": 0.5, "steps": 10}
ROOT = {"name": "CovariancePool", "method": "newton_schulz", "steps": 5, "normalize": "trace"}
ROOT |= {"tol": None, "isometric": False}
DEMOCRATIC |= {"eps": 1e-10, "weight_eps": 1e-8, "detach_target": False}


def test_a_pool_that_is_the_classifier_allows_no_other(path):
    description = describe(pooling=SCORES, descriptor_size=3)
    learned = {
        "pool.u_plus": np.ones((3, 2, 2), np.float32),
        "pool.u_minus": np.ones((3, 2, 1), np.float32),
        "pool.bias": np.zeros(3, np.float32),
    }
    for words in both_ways(path, description, tiny() | learned):
        assert "'classifier." in words
        assert "must not be there" in words


def test_taps_cut_the_network_after_the_last(path):
    taps = ("layer2", "layer1")
    description = describe(backbone="resnet18", taps=taps, descriptor_size=128 * 64)
    assert description.channels == (128, 64)
    tensors = plans.initial_tensors("resnet18", None, description.head, taps, seed=0)
    assert "backbone.layer2.1.bn2.bias" in tensors
    assert not any(name.startswith("backbone.layer3") for name in tensors)
    checkpoint.write(path, description, tensors)
    assert_same(checkpoint.read(path).tensors, tensors)
    whole = plans.initial_tensors("resnet18", None, description.head, seed=0)
    with pytest.raises(ValueError, match=r"'backbone\.layer3.*must not be there"):
        checkpoint.write(path, description, whole)


@pytest.mark.parametrize(
    ("changes", "version"),
    [
        ({}, 1),
        ({"projection": 2}, 2),
        ({"pooling": {"name": "OuterMaxPool", "eps": 0, "l2_eps": 1e-12}}, 2),
        ({"backbone": Custom("net", "torch", (2, 2))}, 2),
        ({"backbone": "vgg16", "taps": ("relu1_1",), "descriptor_size": 64**2}, 2),
        ({"pooling": POOL | {"packed": True}, "descriptor_size": 3}, 3),
        ({"pooling": DEMOCRATIC | {"pool": POOL | {"packed": True}}, "descriptor_size": 3}, 3),
        ({"backbone": "vgg19", "taps": ("relu1_1",), "descriptor_size": 64**2}, 4),
        ({"in_channels": 1, "preprocessing": None}, 4),
    ],
)
def test_version_is_the_lowest_possible(changes, version):
    description = describe(**changes)
    description.check("save", "")
    data = json.loads(description.to_json())
    assert data["format_version"] == version
    assert ("taps" in data) == ("projection" in data) == (version >= 2)
    assert ("in_channels" in data) == (version >= 4)
    assert Description.from_json(description.to_json()) == description
