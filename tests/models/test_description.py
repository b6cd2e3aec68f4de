"""Descriptions and pools that are refused, in what is written and in what is read."""

import json
import math
import re

import numpy as np
import pytest
from safetensors.numpy import save_file

from bilinear.models import checkpoint
from bilinear.models.description import Custom, Description

from .test_checkpoint import POOL, both_ways, changed, describe, refused, tiny
from .test_pools import DEMOCRATIC, LEVELS, ROOT, SCORES, SKETCH


def early(path):
    """Return the error of `read_description`."""
    with pytest.raises(ValueError, match=f"^load {path}") as caught:
        checkpoint.read_description(path)
    return str(caught.value)


def images(**changes):
    """The preprocessing of `describe` as JSON, changed."""
    return describe().preprocessing.to_dict() | changes


DESCRIPTIONS = [
    ({"backbone": "vgg17"}, "a stream must be"),
    ({"backbone": Custom("", "torch", 2)}, "a stream must be"),
    ({"backbone": Custom("net", "torch", 0)}, "a stream must be"),
    ({"num_classes": 0}, "num_classes must be a positive integer; got 0"),
    ({"num_classes": True}, "num_classes must be"),
    ({"descriptor_size": 4.0}, "descriptor_size must be a positive"),
    ({"descriptor_size": 5}, "descriptor_size must be 4; got 5"),
    ({"pooling": {"reduction": "mean"}}, "pooling must have a name"),
    ({"pooling": POOL | {"eps": [1]}}, "eps of BilinearPool must be 0 or a normal"),
    ({"classes": ("a", "b")}, "classes must be 3 different names"),
    ({"classes": ("a", "b", "a")}, "classes must be 3 different names"),
    ({"classes": ("a", "b", 3)}, "classes must be a tuple of names"),
    ({"dtype": "int8"}, "dtype must be one of"),
    ({"in_channels": 0}, "in_channels must be a positive integer; got 0"),
    ({"in_channels": 1}, "mean must have 1 values, one for each of in_channels; got"),
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
]
"""Changes of the fields of a description, and the error."""

POOLS = [
    ({"name": "Later"}, "the pooling must be one of BilinearPool, .*got 'Later'.*Upgrade"),
    (SKETCH | {"order": 3}, "CompactBilinearPool has the arguments .*Upgrade bilinear"),
    (
        {"name": "OuterMaxPool", "eps": 0},
        r"OuterMaxPool has the arguments eps, l2_eps; got \['eps'\]\. (Correct|The file)",
    ),
    (SKETCH | {"dim": 0}, "dim of CompactBilinearPool must be a positive integer; got 0"),
    (SKETCH | {"method": "sha"}, "method .* must be 'tensor_sketch' or .*got 'sha'"),
    (SKETCH | {"seed": -1}, "seed of CompactBilinearPool must be None or a non-negative"),
    (SKETCH | {"eps": -1.0}, "eps of CompactBilinearPool must be 0 or a normal"),
    (SKETCH | {"l2_eps": 0}, "l2_eps of CompactBilinearPool must be a normal positive"),
    (SKETCH | {"channels": 3}, r"channels of CompactBilinearPool must be \(2,\); got 3"),
    (SKETCH | {"channels": [2, 2]}, r"channels of CompactBilinearPool must be \(2,\)"),
    (SCORES | {"num_classes": 4}, "num_classes of LowRank.* must be 3; got 4"),
    (LEVELS | {"channels": [2, 2]}, "HierarchicalBilinearPool takes 2 maps or more; got 1"),
    (SKETCH | {"channels": [2, "x"]}, "pooling must have a name, and finite JSON"),
    (DEMOCRATIC | {"gamma": 2}, "gamma of DemocraticPool must be a number from 0 to 1"),
    (DEMOCRATIC | {"pool": SKETCH | {"dim": -4}}, "dim of CompactBilinearPool must be"),
    (DEMOCRATIC | {"steps": 2**40}, "steps of DemocraticPool must be an integer from 1 to 1000"),
    (ROOT | {"steps": 2**40}, "steps of CovariancePool must be an integer from 1 to 1000; got 10"),
    (DEMOCRATIC | {"pool": DEMOCRATIC}, "pooling must have a name, and finite JSON"),
    (DEMOCRATIC | {"pool": SCORES}, "the pool of DemocraticPool must give a descriptor; got a L"),
    (DEMOCRATIC | {"pool": 3}, "pool of DemocraticPool must be the description"),
    (POOL | {"root": "unsigned", "eps": 0}, "the unsigned root needs eps > 0; got 0"),
    (POOL | {"slope_eps": 0.1}, "slope_eps needs the signed root without eps; got root"),
    (SKETCH | {"channels": [2]}, "channels of Compact.* must be .* or a pair of those"),
    (SKETCH | {"dim": 5}, "descriptor_size must be 5; got 4"),
]
"""Pools, and the error."""


@pytest.mark.parametrize(
    ("changes", "words"),
    [*DESCRIPTIONS, *(({"pooling": pooling, "descriptor_size": 4}, w) for pooling, w in POOLS)],
)
def test_invalid_description_is_neither_written_nor_read(path, changes, words):
    for found in (*both_ways(path, describe(**changes), tiny()), early(path)):
        assert re.search(words, found), found


def test_a_description_holds_no_nan(path):
    with pytest.raises(ValueError, match="pooling must have a name, and finite"):
        checkpoint.write(path, describe(pooling=POOL | {"eps": float("nan")}), tiny())
    with pytest.raises(ValueError, match="not JSON compliant"):
        describe(pooling=POOL | {"eps": float("nan")}).to_json()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": "onnx"}, "must be of format bilinear-bcnn; got 'onnx'"),
        ({"format_version": "1"}, "must have exactly its fields"),
        ({"format_version": 0}, "must have exactly its fields"),
        ({"surprise": 1}, r"missing or unknown: \['surprise'\]"),
        ({"backbone": {"custom": "net"}}, "a stream must be"),
        ({"preprocessing": {"size": 4}}, "its preprocessing must be valid"),
        ({"preprocessing": 4}, "its preprocessing must be valid"),
        ({"preprocessing": images(mean=[0, 0, 1e300])}, "valid; got .*mean must be numbers"),
        ({"preprocessing": images(std=[1, 1, 1e-46])}, "valid; got .*std must be numbers"),
        ({"preprocessing": images(std=[1, 1, 10**99])}, "valid; got .*std must be numbers"),
        ({"preprocessing": images(std=[1, 1, 10**400])}, "JSON; got an integer of more than 100"),
        ({"preprocessing": images(mean=[0, 0, math.inf])}, "JSON; got a number that is not finite"),
        ({"classes": "abc"}, "classes must be a tuple of names"),
        ({"library_version": 1}, "library_version must be text"),
        (
            {"format_version": 5, "library_version": "9.1", "new_field": []},
            r"reads format versions up to 4; got version 5, written by bilinear 9\.1\. Upgrade",
        ),
    ],
)
def test_a_wrong_description_is_refused(path, changes, words):
    data = json.loads(describe().to_json()) | changes
    save_file(tiny(), path, {"bilinear": json.dumps(data)})
    refused(path, words)


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", '{"format": NaN}', '{"a": -Infinity}'),
        *("[" * 100_000, '{"a": ' + "9" * 10_000 + "}", '{"a": ' + "9" * 101 + "}"),
    ],
)
def test_a_description_that_is_not_json_is_refused(path, text):
    save_file(tiny(), path, {"bilinear": text})
    refused(path, "its description must be")


@pytest.mark.parametrize("key", ["num_classes", "classes", "pooling", "preprocessing", "format"])
def test_deep_json_is_refused(path, key):
    """Also where the parser accepts what is too deep to be printed."""
    for depth in 10, 300, *range(800, 1000, 4), 5000:
        data = json.loads(describe().to_json()) | {key: "deep"}
        text = json.dumps(data).replace('"deep"', "[" * depth + "]" * depth)
        with pytest.raises(ValueError, match=r"^load it: "):
            Description.from_json(text, "load it")


def test_infinity_in_json_is_refused(path):
    text = describe().to_json().replace('"eps":1e-10', '"eps":1e999')
    assert "1e999" in text
    save_file(tiny(), path, {"bilinear": text})
    refused(path, "pooling must have a name, and finite")


SKETCHED = {
    "pool.h1": np.array([3, 0]),
    "pool.s1": np.array([1, -1], np.int8),
    "pool.h2": np.array([0, 1]),
    "pool.s2": np.array([-1, -1], np.int8),
}
TABLES = [
    ({"pool.h1": None}, {}, r"tensor 'pool\.h1' must be there"),
    ({"pool.h1": np.zeros(2, np.float32)}, {}, r"'pool\.h1' must be int64 \(2,\); got float32"),
    ({"pool.h1": np.zeros(2, np.int32)}, {}, r"'pool\.h1' must be int64 \(2,\); got int32"),
    ({"pool.h1": np.zeros(3, np.int64)}, {}, r"'pool\.h1' must be int64 \(2,\); got int64 \(3,\)"),
    ({"pool.h3": np.zeros(2, np.int64)}, {}, r"'pool\.h3' must not be there"),
    ({}, {"pool.h1": np.zeros(2, np.int64)}, r"'momentum\.pool\.h1' must not be there"),
    ({"pool.h1": np.array([0, 4])}, {}, r"'pool\.h1' must hold 0 to 3; got 4 at \(1,\)"),
    ({"pool.h1": np.array([-1, 0])}, {}, r"'pool\.h1' must hold 0 to 3; got -1 at \(0,\)"),
    ({"pool.s1": np.array([0, 1], np.int8)}, {}, r"'pool\.s1' must hold -1, 1; got 0 at \(0,\)"),
    ({"pool.s2": np.array([1, 2], np.int8)}, {}, r"'pool\.s2' must hold -1, 1; got 2 at \(1,\)"),
]


@pytest.mark.parametrize(("changes", "momentum", "words"), TABLES)
def test_wrong_table_is_named_in_the_error(path, changes, momentum, words):
    description = describe(pooling=SKETCH, descriptor_size=4)
    for found in both_ways(path, description, changed(SKETCHED | changes), momentum):
        assert re.search(words, found), found
    if "must hold" not in words:  # the header suffices
        assert re.search(words, early(path))


def test_learned_numbers_are_finite(path):
    own = Custom("net", "torch", (2, 3))
    description = describe(backbone=own, pooling=LEVELS, descriptor_size=4)
    learned = {"pool.u1": np.ones((2, 4), np.float32), "pool.u2": np.ones((3, 4), np.float32)}
    learned["pool.u2"][2, 1] = np.inf
    for found in both_ways(path, description, tiny() | learned):
        assert re.search(r"tensor 'pool\.u2' must be finite; got inf at \(2, 1\)", found)
