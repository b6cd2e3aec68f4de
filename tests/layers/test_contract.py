"""Bad input where the battery does not look: compiled operators, layers, foreign objects."""

import importlib
import re

import numpy as np
import pytest

from bilinear.backends.initial_values import maclaurin_tables, sketch_tables
from bilinear.contract.sketches import CHANNELS
from bilinear.testing.refusals import BAD, expected_error

from ..subjects import driver, over_backends

HASHES, SIGNS = sketch_tables(3, 5, 8), maclaurin_tables(3, 5, 8)
PAIR = {"channels": (3, 5), "dim": 8}

NOT_MADE = [
    ("BilinearPool", {"reduction": "max"}, "reduction must be 'mean' or 'sum'"),
    ("BilinearPool", {"l2_eps": 0.0}, "l2_eps must be a normal positive number"),
    ("CompactBilinearPool", {"channels": (3, 4, 5), "dim": 8}, "channels must be a positive"),
    ("CompactBilinearPool", {"channels": 3.0, "dim": 8}, "channels must be a positive integer or"),
    ("CompactBilinearPool", {"channels": 3, "dim": 0}, "dim must be a positive integer"),
    ("CompactBilinearPool", PAIR | {"method": "count"}, "method must be 'tensor_sketch' or"),
    ("CompactBilinearPool", PAIR | {"tables": SIGNS}, "tables must be a SketchTables"),
    ("CompactBilinearPool", PAIR | {"dim": 9, "tables": HASHES}, "tables must be of dim 9"),
    ("CompactBilinearPool", PAIR | {"channels": (3, 4), "tables": HASHES}, CHANNELS),
    (
        "CompactBilinearPool",
        PAIR | {"method": "random_maclaurin", "tables": SIGNS._replace(w1=SIGNS.w1 * 2)},
        "w1 must hold +1",
    ),
    ("LowRankBilinearPool", {"channels": [3, 2, 1], "dim": 4}, "channels must be a positive"),
    ("LowRankBilinearPool", {"channels": 3, "dim": 0}, "dim must be a positive"),
    ("LowRankBilinearPool", {"channels": 3, "dim": 4, "seed": -1}, "seed must be None or a non"),
    ("LowRankBilinearClassifier", {"channels": 3, "num_classes": 0, "rank": 2}, "num_classes"),
    ("HierarchicalBilinearPool", {"channels": [3], "dim": 4}, "channels must be a list of two"),
    ("Projection", {"channels": 3, "dim": 2, "activation": "tanh"}, "activation must be None or"),
]
"""Layers, arguments that their constructors refuse, and a part of the message."""

ONE = "the layer must be called with one map for each of channels"
WIDTH = "channels that the layer was made for"
REAL = "x must be of a real floating type"
PROJECTED = [
    ("LowRankBilinearPool", {"channels": [3, 2], "dim": 4}, (3, 2)),
    ("HierarchicalBilinearPool", {"channels": [3, 2, 4], "dim": 4}, (3, 2, 4)),
    ("LowRankBilinearClassifier", {"channels": 3, "num_classes": 4}, (3,)),
    ("Projection", {"channels": 3, "dim": 2}, (3,)),
]
NOT_CALLED = [
    ("BilinearPool", {"packed": True}, (3, 2), "f4", "packed=True is for one stream; got y "),
    ("CompactBilinearPool", {"channels": 3, "dim": 8}, (3, 5), "f4", f"{ONE} 3"),
    ("CompactBilinearPool", {"channels": [3, 5], "dim": 8}, (3,), "f4", f"{ONE} [3, 5]"),
    (
        "CompactBilinearPool",
        {"channels": 4, "dim": 8},
        (3,),
        "f4",
        f"a map must have the 4 {WIDTH}",
    ),
    ("CompactBilinearPool", {"channels": [3, 4], "dim": 8}, (3, 5), "f4", "a map must have the 4"),
    *((name, arguments, maps, "i4", REAL) for name, arguments, maps in PROJECTED),
    *((name, arguments, [7] * len(maps), "f4", WIDTH) for name, arguments, maps in PROJECTED),
    *((name, arguments, maps[:1], "f4", ONE) for name, arguments, maps in PROJECTED[:2]),
]
"""Layers, their arguments, channels and dtype of maps that they refuse, a part of the message."""


@pytest.mark.parametrize("mistake", BAD)
def test_every_refusal_says_what_is_wanted_and_what_was_received(mistake: str) -> None:
    sentence = str(expected_error(mistake))
    assert sentence.startswith(f"{BAD[mistake][0]}: ")
    assert "; got " in sentence
    assert sentence.endswith(".")


@over_backends
@pytest.mark.parametrize("mistake", ["two counts of locations", "integers", "zero floor"])
def test_compiled_operators_refuse_too(backend: str, mistake: str) -> None:
    """Frameworks wrap the error of traced code: their message contains the reference's."""
    op, arrays, options = BAD[mistake]
    invariant = str(expected_error(mistake)).partition("; got ")[0]
    # Dynamo cannot format a number that changed in an earlier call
    getattr(driver(backend), "reset_compiler", lambda: None)()
    for mode in driver(backend).modes[1:]:
        with pytest.raises(Exception, match=re.escape(invariant)):
            driver(backend).forward(op, arrays, options, mode=mode)


@over_backends
def test_layers_refuse_maps_of_equal_size_but_not_equal_shape(backend: str) -> None:
    maps = np.ones((1, 2, 6, 3), np.float32), np.ones((1, 3, 4, 5), np.float32)
    for layout in driver(backend).layouts:
        with pytest.raises(ValueError, match="BilinearPool: x and y must describe the same") as e:
            driver(backend).layer("BilinearPool", np.ones((1, 15)), maps, layout=layout)
        shapes = ["x (1, 2, 6, 3) and y (1, 3, 4, 5)", "x (1, 3, 2, 6) and y (1, 5, 3, 4)"]
        assert any(shape in str(e.value) for shape in shapes)


@over_backends
@pytest.mark.parametrize(("layer", "arguments", "sentence"), NOT_MADE)
def test_layers_refuse_when_they_are_made(
    layer: str, arguments: dict, sentence: str, backend: str
) -> None:
    constructor = getattr(importlib.import_module(f"bilinear.{backend}"), layer)
    with pytest.raises((TypeError, ValueError), match=re.escape(f"{layer}: {sentence}")):
        constructor(**arguments)


@over_backends
@pytest.mark.parametrize(("layer", "arguments", "channels", "dtype", "sentence"), NOT_CALLED)
def test_layers_refuse_feature_maps(
    layer: str, arguments: dict, channels: tuple, dtype: str, sentence: str, backend: str
) -> None:
    maps = [np.ones((2, 3, 4, c), dtype) for c in channels]
    error = TypeError if sentence == REAL else ValueError
    with pytest.raises(error, match=f"{layer}: .*{re.escape(sentence)}"):
        driver(backend).apply_layer(layer, arguments, maps)


@over_backends
@pytest.mark.parametrize("name", ["HierarchicalBilinearPool", "CompactBilinearPool"])
def test_a_democratic_pool_refuses_pools_of_two_feature_maps(name: str, backend: str) -> None:
    namespace = importlib.import_module(f"bilinear.{backend}")
    sentence = f"pool must be a layer of one feature map; got a {name} of 2 feature maps"
    with pytest.raises(ValueError, match=f"DemocraticPool: {sentence}"):
        namespace.DemocraticPool(getattr(namespace, name)([6, 6], 2))
    namespace.DemocraticPool(namespace.LowRankBilinearClassifier(6, 3, rank=2))


@over_backends
def test_other_than_arrays_are_refused(backend: str) -> None:
    with pytest.raises(TypeError, match="must be"):
        driver(backend).call_with_wrong_type()
