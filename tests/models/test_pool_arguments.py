"""The pools that a `BCNN` makes from a name and arguments, and the arguments that it refuses."""

import importlib
import inspect
from pathlib import Path
from typing import Any

import pytest

from bilinear.models.pools import POOLS

from ..subjects import driver
from .test_models import CLASSES, images
from .test_pooled_models import LEVELS, SCORES, SKETCH, Layer, make, over_backends

COMPACT: dict[str, Any] = {"name": "CompactBilinearPool", "dim": 24}
OUTER: dict[str, Any] = {"name": "OuterMaxPool"}


@over_backends
def test_table_has_every_pool_and_its_arguments(backend: str) -> None:
    namespace = importlib.import_module(f"bilinear.{backend}")
    layers = {
        n: getattr(namespace, n)
        for n in namespace.__all__
        if inspect.isclass(getattr(namespace, n))
    }
    pools = {name for name, layer in layers.items() if hasattr(layer, "descriptor_size")}
    assert pools == set(POOLS)
    frameworks_own = {"self", "data_format", "device", "dtype", "rngs", "kwargs"}
    for name in pools:
        given = set(inspect.signature(layers[name].__init__).parameters)
        given -= frameworks_own | {"tables"}
        assert given == set(POOLS[name].arguments), name


@over_backends
@pytest.mark.parametrize("name", POOLS)
def test_every_pool_has_a_name(backend: str, name: str) -> None:
    taps = ("layer1", "layer2", "layer3")[: 3 if name == "HierarchicalBilinearPool" else 1]
    projection = 16 if len(taps) == 1 else None
    model = driver(backend).model("resnet18", CLASSES, pool=name, taps=taps, projection=projection)
    assert type(model.pool).__name__ == name
    assert driver(backend).logits(model, images(2, (32, 32), "float32")).shape == (2, CLASSES)


@over_backends
def test_a_description_makes_the_pool(backend: str, tmp_path: Path) -> None:
    """Of a class or preset, for the channels and the seed of the model unless it has its own."""
    cut, path = {"taps": ("layer1",), "projection": 8}, tmp_path / "model.safetensors"
    for given, expected in (
        (COMPACT, {"dim": 24, "channels": 8, "seed": 5}),
        ({"name": "DemocraticPool", "pool": COMPACT | {"seed": 3}}, {"steps": 10}),
        ({"name": "umass", "eps": 0.25}, {"eps": 0.25, "root": "shifted"}),
    ):
        model = driver(backend).model("resnet18", CLASSES, pool=given, seed=5, **cut)
        pool = model.pool
        assert {name: getattr(pool, name) for name in expected} == expected
    assert (pool.reduction, type(pool).__name__) == ("mean", "BilinearPool")
    inner = {"name": "DemocraticPool", "pool": COMPACT | {"seed": 3}}
    model = driver(backend).model("resnet18", CLASSES, pool=inner, **cut)
    assert (model.pool.pool.seed, model.pool.pool.channels) == (3, 8)
    driver(backend).save(model, path)
    again = driver(backend).model("resnet18", CLASSES, pool=inner, weights=path)
    assert again.pool.pool.seed == 3
    other = inner | {"pool": COMPACT | {"seed": 4}}
    with pytest.raises(ValueError, match="pool must be that of the file"):
        driver(backend).model("resnet18", CLASSES, pool=other, weights=path)


REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("the name of a pool must be one of BilinearPool, .*; got 'MaxPool'", {"pool": "MaxPool"}),
    ("the name of a pool must be one of .*; got None", {"pool": {"dim": 24}}),
    (r"OuterMaxPool has the arguments eps, .* got \['dim'\]", {"pool": OUTER | {"dim": 24}}),
    (
        "dim of CompactBilinearPool must be a positive integer; got 0",
        {"pool": COMPACT | {"dim": 0}},
    ),
    (r"channels of CompactBilinearPool must be \(512,\)", {"pool": COMPACT | {"channels": 8}}),
    ("HierarchicalBilinearPool takes 2 maps or more", {"pool": "HierarchicalBilinearPool"}),
    ("projection must be a positive integer", {"projection": 0}),
    (
        "projection must be None for a stream of several maps",
        {"projection": 4, "taps": ("layer1", "layer2")},
    ),
    ("taps must be different names among layer1, .*got 'layer1'", {"taps": "layer1"}),
    ("taps must be those of a single stream", {"taps": ("layer1",), "backbone_b": "resnet18"}),
    ("has 64 channels; got 63", {"taps": ("layer1",), "channels": 63}),
    (r"channels of CompactBilinearPool must be \(512,\)", {"pool": SKETCH}),
    (r"channels of LowRankBilinearClassifier must be \(512,\)", {"pool": SCORES}),
    (
        "num_classes of LowRankBilinearClassifier must be 4; got 3",
        {"pool": SCORES, "projection": 16, "num_classes": 4},
    ),
    (
        r"channels of CompactBilinearPool must be \(512,\); got 64",
        {"pool": Layer("DemocraticPool", {"pool": SKETCH})},
    ),
    (
        "the pool of DemocraticPool must give a descriptor; got a LowRankBilinearClassifier",
        {"pool": Layer("DemocraticPool", {"pool": SCORES}), "projection": 16},
    ),
    (
        "LowRankBilinearClassifier takes one map; got 2",
        {"backbone_b": "resnet18", "pool": "lrbp"},
    ),
    ("BCNN: seed must be None or a non-negative integer; got", {"seed": -1}),
    (  # otherwise no file could describe it
        "u of LowRankBilinearPool must be of the model's dtype float16; got float32",
        {"pool": Layer("LowRankBilinearPool", {"channels": 64, "dim": 2})}
        | {"taps": ("layer1",), "dtype": "float16"},
    ),
]


@over_backends
def test_arguments_that_do_not_fit_are_refused(backend: str) -> None:
    model = driver(backend).model
    for words, arguments in REFUSED:
        with pytest.raises(ValueError, match=words):
            make(backend, {"backbone": "resnet18", "num_classes": CLASSES} | arguments)
    own = driver(backend).custom_network(7)
    with pytest.raises(ValueError, match="taps must be those of a named backbone"):
        model(own, CLASSES, channels=7, taps=("layer1",))
    with pytest.raises(ValueError, match="channels is required"):
        model(own, CLASSES)
    with pytest.raises(ValueError, match="BilinearPool takes 1 to 2 maps; got 3"):
        model(own, CLASSES, channels=(7, 7, 7))
    with pytest.raises(Exception, match="the backbone must give 2 maps; got 1"):
        driver(backend).logits(model(own, CLASSES, channels=(7, 7)), images(1, (9, 9), "float32"))
    namespace = importlib.import_module(f"bilinear.{backend}")
    for pool in (3, [], namespace.BilinearPool, own):
        with pytest.raises(TypeError, match="BCNN: pool must be a layer instance with descr"):
            model("resnet18", CLASSES, pool=pool)
    with pytest.raises(ValueError, match="one feature map; got a HierarchicalBilinearPool of 3"):
        Layer("DemocraticPool", {"pool": LEVELS}).made(backend)
    # tables have no dtype of the model
    model("resnet18", CLASSES, pool=SKETCH.made(backend), taps=("layer1",), dtype="float16")
