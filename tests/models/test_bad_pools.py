"""Invalid pools, feature maps and tables: refused before a model is built."""

import json
import re

import numpy as np
import pytest
from safetensors.numpy import save_file

from bilinear.models import checkpoint
from bilinear.models.description import Custom, Description

from .test_checkpoint import POOL, describe, tiny, without
from .test_pools import DEMOCRATIC, LEVELS, SCORES, SKETCH, both_ways, sketched


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def early(path):
    """Return the error of `read_description`."""
    with pytest.raises(ValueError, match=f"^load {path}") as caught:
        checkpoint.read_description(path)
    return str(caught.value)


DESCRIPTIONS = {
    "no pool": (
        {"name": "Later"},
        "the pooling must be one of BilinearPool, .*got 'Later'.*Upgrade",
    ),
    "new": (SKETCH | {"order": 3}, "CompactBilinearPool has the arguments .*Upgrade bilinear"),
    "missing": (
        {"name": "OuterMaxPool", "eps": 0},
        r"OuterMaxPool has the arguments eps, l2_eps; got \['eps'\]\. (Correct|The file)",
    ),
    "count": (SKETCH | {"dim": 0}, "dim of CompactBilinearPool must be a positive integer; got 0"),
    "true": (SKETCH | {"dim": True}, "dim of CompactBilinearPool must be a positive integer"),
    "choice": (SKETCH | {"method": "sha"}, "method .* must be 'tensor_sketch' or .*got 'sha'"),
    "seed": (SKETCH | {"seed": -1}, "seed of CompactBilinearPool must be None or an integer from"),
    "eps": (SKETCH | {"eps": -1.0}, "eps of CompactBilinearPool must be 0 or a normal"),
    "huge": (SKETCH | {"eps": 10**400}, "eps of CompactBilinearPool must be 0 or a normal"),
    "floor": (SKETCH | {"l2_eps": 0}, "l2_eps of CompactBilinearPool must be a normal positive"),
    "channels": (
        SKETCH | {"channels": 3},
        r"channels of CompactBilinearPool must be \(2,\); got 3",
    ),
    "two": (SKETCH | {"channels": [2, 2]}, r"channels of CompactBilinearPool must be \(2,\)"),
    "classes": (SCORES | {"num_classes": 4}, "num_classes of LowRank.* must be 3; got 4"),
    "maps": (LEVELS | {"channels": [2, 2]}, "HierarchicalBilinearPool takes 2 maps or more; got 1"),
    "list": (SKETCH | {"channels": [2, "x"]}, "pooling must have a name, and finite JSON"),
    "gamma": (DEMOCRATIC | {"gamma": 2}, "gamma of DemocraticPool must be a number from 0 to 1"),
    "within": (DEMOCRATIC | {"pool": SKETCH | {"dim": -4}}, "dim of CompactBilinearPool must be"),
    "deep": (DEMOCRATIC | {"pool": DEMOCRATIC}, "pooling must have a name, and finite JSON"),
    "scores": (
        DEMOCRATIC | {"pool": SCORES},
        "the pool of DemocraticPool must give a descriptor; got a L",
    ),
    "no inner": (DEMOCRATIC | {"pool": 3}, "pool of DemocraticPool must be the description"),
    "unsigned": (POOL | {"root": "unsigned", "eps": 0}, "the unsigned root needs eps > 0; got 0"),
    "root": (
        {"name": "ImprovedBilinearPool", "method": "eigen", "steps": 5, "normalize": "trace"}
        | {"tol": None, "reduction": "mean", "root": "unsigned", "eps": 0.0, "l2_eps": 1e-12},
        "the unsigned root needs eps > 0",
    ),
    "slope": (POOL | {"slope_eps": 0.1}, "slope_eps needs the signed root without eps; got root"),
    "shifted slope": (
        POOL | {"slope_eps": 0.1, "root": "shifted", "eps": 0},
        "slope_eps needs the signed root without eps; got root='shifted'",
    ),
    "subnormal": (POOL | {"eps": 1e-310}, "eps of BilinearPool must be 0 or a normal"),
    "subnormal floor": (POOL | {"l2_eps": 1e-310}, "l2_eps of BilinearPool must be a normal"),
    "subnormal slope": (
        POOL | {"eps": 0, "slope_eps": 1e-310},
        "slope_eps of BilinearPool must be None or a normal",
    ),
    "damping": (DEMOCRATIC | {"damping": 0}, "damping of DemocraticPool must be a number above 0"),
    "unseeded": (SCORES | {"seed": 1.5}, "seed of LowRank.* must be None or an integer from 0 up"),
    "alone": (SKETCH | {"channels": [2]}, "channels of Compact.* must be .* or a pair of those"),
    "size": (SKETCH | {"dim": 5}, "descriptor_size must be 5; got 4"),
}


@pytest.mark.parametrize("case", DESCRIPTIONS)
def test_invalid_pool_is_neither_written_nor_read(path, case):
    pooling, words = DESCRIPTIONS[case]
    description = describe(pooling=pooling, descriptor_size=4)
    for found in (*both_ways(path, description, sketched()), early(path)):
        assert re.search(words, found), found


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"projection": 0}, "projection must be None, or positive and of one map"),
        ({"projection": 2.0}, "projection must be None"),
        ({"projection": 2, "backbone": Custom("n", "torch", (2, 3))}, "projection must be None"),
        ({"taps": ("layer1",)}, "taps must be None, or different maps of one named backbone"),
        ({"backbone": "resnet18", "taps": ()}, "taps must be None"),
        ({"backbone": "resnet18", "taps": ("layer1", "layer1")}, "taps must be None"),
        ({"backbone": "resnet18", "taps": ("relu5_1",)}, "taps must be None"),
        ({"backbone": "resnet18", "taps": (["layer1"],)}, "taps must be None"),
        ({"backbone": "vgg16", "backbone_b": "vgg16", "taps": ("relu1_1",)}, "taps must be None"),
        ({"backbone": Custom("n", "torch", (2,))}, "a stream must be"),
        ({"backbone_b": Custom("n", "torch", (2, 3))}, "a stream must be"),
        (
            {"backbone": "vgg16", "taps": ("relu1_1", "relu1_2", "relu2_1")},
            "BilinearPool takes 1 to 2 maps; got 3",
        ),
    ],
)
def test_invalid_feature_maps_are_neither_written_nor_read(path, changes, words):
    for found in (*both_ways(path, describe(**changes), tiny()), early(path)):
        assert re.search(words, found), found


def test_too_low_version_is_refused():
    """As an older reader would refuse the same file."""
    text = describe(pooling={"name": "CovariancePool"}).to_json()
    data = json.loads(text) | {"format_version": 1, "descriptor_size": 3}
    root = {"method": "eigen", "steps": 5, "normalize": "trace", "tol": None, "isometric": False}
    data["pooling"] |= root
    del data["taps"], data["projection"]
    with pytest.raises(ValueError, match="version 1 must not need a newer one; got what needs ver"):
        Description.from_json(json.dumps(data))


TENSORS = {
    "missing": (None, r"tensor 'pool\.h1' must be there"),
    "real": (np.zeros(2, np.float32), r"'pool\.h1' must be int64 \(2,\); got float32"),
    "narrow": (np.zeros(2, np.int32), r"'pool\.h1' must be int64 \(2,\); got int32"),
    "misshapen": (np.zeros(3, np.int64), r"'pool\.h1' must be int64 \(2,\); got int64 \(3,\)"),
    "too large": (np.array([0, 4]), r"'pool\.h1' must hold 0 to 3; got 4 at \(1,\)"),
    "negative": (np.array([-1, 0]), r"'pool\.h1' must hold 0 to 3; got -1 at \(0,\)"),
}


@pytest.mark.parametrize("case", TENSORS)
def test_wrong_table_is_named_in_the_error(path, case):
    array, words = TENSORS[case]
    tensors = {k: v for k, v in sketched(**{"pool.h1": array}).items() if v is not None}
    description = describe(pooling=SKETCH, descriptor_size=4)
    for found in both_ways(path, description, tensors):
        assert re.search(words, found), found
    if case not in ("too large", "negative"):  # which the values say, and no header
        assert re.search(words, early(path))


@pytest.mark.parametrize(
    ("changes", "momentum", "words"),
    [
        (
            {"pool.s1": np.array([0, 1], np.int8)},
            {},
            r"'pool\.s1' must hold -1, 1; got 0 at \(0,\)",
        ),
        (
            {"pool.s2": np.array([1, 2], np.int8)},
            {},
            r"'pool\.s2' must hold -1, 1; got 2 at \(1,\)",
        ),
        ({"pool.h3": np.zeros(2, np.int64)}, {}, r"'pool\.h3' must not be there"),
        ({}, {"pool.h1": np.zeros(2, np.int64)}, r"'momentum\.pool\.h1' must not be there"),
    ],
)
def test_other_wrong_tables_are_named_in_the_error(path, changes, momentum, words):
    description = describe(pooling=SKETCH, descriptor_size=4)
    for found in both_ways(path, description, sketched(**changes), momentum):
        assert re.search(words, found), found


def test_learned_numbers_are_finite(path):
    own = Custom("net", "torch", (2, 3))
    description = describe(backbone=own, pooling=LEVELS, descriptor_size=4)
    learned = {"pool.u1": np.ones((2, 4), np.float32), "pool.u2": np.ones((3, 4), np.float32)}
    learned["pool.u2"][2, 1] = np.inf
    for found in both_ways(path, description, tiny() | learned):
        assert re.search(r"tensor 'pool\.u2' must be finite; got inf at \(2, 1\)", found)


def test_a_file_that_does_not_fit_is_refused_before_its_network_is_built(path):
    """All tensors except those of custom modules are checked with the description."""
    save_file(without("classifier.bias"), path, {"bilinear": describe().to_json()})
    assert "'classifier.bias' must be there" in early(path)
    save_file(without("backbone.conv.weight"), path, {"bilinear": describe().to_json()})
    assert checkpoint.read_description(path) == describe()
