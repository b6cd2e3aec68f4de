"""B-CNNs with every pool, projections and several feature maps, equal in every framework.

The networks are cut after their first layers, so that they are quick.
"""

import importlib
import inspect
import itertools
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from safetensors import safe_open

from bilinear.models.pools import POOLS

from ..agreement import assert_models_agree, relative_error
from ..subjects import PRESENT, driver
from ..tolerances import LOGITS
from .test_models import CLASSES, images

over_backends = pytest.mark.parametrize("backend", PRESENT)


class Layer(NamedTuple):
    """A layer by its name, and its arguments."""

    name: str
    arguments: dict[str, Any]

    def made(self, backend: str) -> Any:
        namespace = importlib.import_module(f"bilinear.{backend}")
        within = {k: v.made(backend) for k, v in self.arguments.items() if isinstance(v, Layer)}
        return getattr(namespace, self.name)(**self.arguments | within)


SKETCH = Layer("CompactBilinearPool", {"channels": 64, "dim": 24, "seed": 3})
SIGNS = Layer(
    "CompactBilinearPool", {"channels": [16, 16], "dim": 20, "method": "random_maclaurin"}
)
LEARNED = Layer(
    "LowRankBilinearPool", {"channels": [64, 128], "dim": 6, "rank": 2, "activation": "tanh"}
)
SCORES = Layer("LowRankBilinearClassifier", {"channels": 16, "num_classes": CLASSES, "rank": 5})
LEVELS = Layer("HierarchicalBilinearPool", {"channels": [64, 128, 256], "dim": 6})

CASES: dict[str, dict[str, Any]] = {
    "plain": {"taps": ("layer1",), "projection": 8},
    "two maps": {"taps": ("layer2", "layer1")},
    "one convolution": {"backbone": "vgg16", "taps": ("relu1_2",), "pool": "BilinearPool"},
    "two streams": {"backbone_b": "resnet18", "projection": 16},
    "packed": {
        "taps": ("layer1",),
        "pool": Layer("BilinearPool", {"packed": True, "norm": "added"}),
    },
    "preset": {"taps": ("layer1",), "projection": 8, "pool": "umass-improved"},
    "preset of tables": {"taps": ("layer1",), "pool": "hawkeye-cbp"},
    "preset of scores": {"taps": ("layer1",), "projection": 8, "pool": "lrbp"},
    "preset within": {"taps": ("layer1",), "projection": 8, "pool": "democratic"},
    "integer tables": {"taps": ("layer1",), "pool": SKETCH},
    "tables of signs": {"backbone_b": "resnet18", "projection": 16, "pool": SIGNS},
    "learned": {"taps": ("layer1", "layer2"), "pool": LEARNED},
    "within": {"taps": ("layer1",), "pool": Layer("DemocraticPool", {"pool": SKETCH})},
    "numbers": {
        "taps": ("layer1",),
        "projection": 8,
        "pool": Layer(
            "DemocraticPool",
            {"pool": Layer("BilinearPool", {"eps": 0}), "gamma": 1}
            | {"steps": np.int64(3), "eps": np.float64(1e-9)},
        ),
    },
    "classifier": {"taps": ("layer1",), "projection": 16, "pool": SCORES},
    "three maps": {"taps": ("layer1", "layer2", "layer3"), "pool": LEVELS},
    "largest": {"taps": ("layer1",), "projection": 8, "pool": "OuterMaxPool"},
    "covariance": {"taps": ("layer1",), "projection": 8, "pool": "CovariancePool"},
    "average": {"taps": ("layer1",), "pool": "AveragePool"},
    "root": {"taps": ("layer1",), "projection": 8, "pool": "ImprovedBilinearPool"},
}


def build(backend: str, case: str, **options: Any) -> Any:
    arguments = {"backbone": "resnet18", "num_classes": CLASSES} | CASES[case] | options
    pool = arguments.get("pool")
    if isinstance(pool, Layer):
        arguments["pool"] = pool.made(backend)
    return driver(backend).model(**arguments)


def stored(path: Path) -> dict[str, np.ndarray]:
    with safe_open(path, "np") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dict


@pytest.mark.parametrize("case", CASES)
def test_one_file_in_every_framework(case: str, tmp_path: Path) -> None:
    """Equal models give equal bytes, also after loading; logits as in `test_files`."""
    x, results, contents = images(2, (32, 48), "float32"), {}, {}
    for backend in PRESENT:
        model = build(backend, case, seed=5)
        path = tmp_path / f"{backend}.safetensors"
        driver(backend).save(model, path)
        opened = driver(backend).load(tmp_path / f"{PRESENT[0]}.safetensors")
        results[backend] = driver(backend).logits(opened, x)
        assert results[backend].shape == (2, CLASSES)
        np.testing.assert_array_equal(driver(backend).logits(model, x), results[backend])
        again = tmp_path / "again.safetensors"
        driver(backend).save(opened, again)
        contents[backend] = path.read_bytes()
        assert again.read_bytes() == contents[PRESENT[0]] == contents[backend], backend
    for (a, first), (b, second) in itertools.combinations(results.items(), 2):
        assert relative_error(first, second) <= LOGITS["float32"], f"{a} against {b}"


@pytest.mark.parametrize("case", ["learned", "classifier"])
def test_gradients_and_momentum_of_learned_tensors(case: str, tmp_path: Path) -> None:
    """Names of gradients are equal; every framework reads the buffers of a step of another."""
    x, labels = images(2, (32, 32), "float32"), np.array([0, 2])
    cotangent, results = np.ones((2, CLASSES), np.float32), {}
    for backend in PRESENT:
        model = build(backend, case)
        _, gradients, _ = driver(backend).gradients(model, x, cotangent, training=False)
        results[backend] = gradients
        trained = ("classifier.", "projection.", "projection_b.", "pool.")
        state = driver(backend).sgd_step(model, x, labels, None, lr=0.1, momentum=0.9)
        buffers = driver(backend).momentum(model, state)
        path = tmp_path / f"{backend}.safetensors"
        driver(backend).save(model, path, momentum=buffers)
        kept = {name for name in stored(path) if name.startswith("momentum.")}
        heads = {name for name in driver(backend).tensors(model) if name.startswith(trained)}
        assert {f"momentum.{name}" for name in heads} <= kept
        for reader in PRESENT:
            opened, read = driver(reader).load(path, momentum=True)
            again = tmp_path / "again.safetensors"
            driver(reader).save(opened, again, momentum=read)
            assert again.read_bytes() == path.read_bytes(), reader
    for first, second in itertools.combinations(results.values(), 2):
        assert first.keys() == second.keys()


SIZES = {
    "BilinearPool": 256,
    "CompactBilinearPool": 8192,
    "CovariancePool": 136,
    "ImprovedBilinearPool": 256,
    "LowRankBilinearPool": 8192,
    "LowRankBilinearClassifier": CLASSES,
    "HierarchicalBilinearPool": 3 * 8192,
    "DemocraticPool": 256,
    "OuterMaxPool": 256,
    "AveragePool": 16,
}
"""The descriptor sizes of pools that are made by name for 16 channels."""


@over_backends
@pytest.mark.parametrize("name", POOLS)
def test_every_pool_has_a_name(backend: str, name: str) -> None:
    taps = ("layer1", "layer2", "layer3")[: 3 if name == "HierarchicalBilinearPool" else 1]
    projection = 16 if len(taps) == 1 else None
    model = driver(backend).model("resnet18", CLASSES, pool=name, taps=taps, projection=projection)
    assert type(model.pool).__name__ == name
    assert model.pool.descriptor_size(16) == SIZES[name]
    assert driver(backend).logits(model, images(2, (32, 32), "float32")).shape == (2, CLASSES)


@over_backends
def test_a_pool_that_gives_logits_has_no_descriptors(backend: str) -> None:
    model = build(backend, "classifier")
    assert not any(name.startswith("classifier.") for name in driver(backend).tensors(model))
    with pytest.raises(ValueError, match="descriptors need a pool that is followed by a linear"):
        driver(backend).descriptors(model, images(1, (32, 32), "float32"))


@over_backends
def test_tables_and_taps_are_copied_whole(backend: str) -> None:
    x, model = images(2, (32, 64), "float32"), build(backend, "integer tables")
    logits = driver(backend).logits(model, x)
    for way, copied in driver(backend).copies.items():
        result = driver(backend).logits(copied(model), x)
        np.testing.assert_array_equal(result, logits, err_msg=way)


@over_backends
def test_arguments_that_do_not_fit_are_refused(backend: str) -> None:
    model = driver(backend).model
    own = driver(backend).custom_network(7)
    for words, arguments in (
        ("pool must be a layer, or a name among .*; got 'MaxPool'", {"pool": "MaxPool"}),
        ("HierarchicalBilinearPool takes 2 maps or more", {"pool": "HierarchicalBilinearPool"}),
        ("projection must be a positive integer", {"projection": 0}),
        (
            "projection must be None for a stream of several maps",
            {"projection": 4, "taps": ("layer1", "layer2")},
        ),
        ("taps must be different names among layer1, .*got 'layer1'", {"taps": "layer1"}),
        ("taps must be different names", {"taps": ()}),
        ("taps must be different names", {"taps": ("layer1", "layer1")}),
        ("taps must be different names", {"taps": ("relu5_1",)}),
        ("taps must be those of a single stream", {"taps": ("layer1",), "backbone_b": "resnet18"}),
        ("BilinearPool takes 1 to 2 maps; got 3", {"taps": ("layer1", "layer2", "layer3")}),
        ("has 64 channels; got 63", {"taps": ("layer1",), "channels": 63}),
    ):
        with pytest.raises(ValueError, match=words):
            model("resnet18", CLASSES, **arguments)
    with pytest.raises(ValueError, match="taps must be those of a named backbone"):
        model(own, CLASSES, channels=7, taps=("layer1",))
    with pytest.raises(ValueError, match="channels is required"):
        model(own, CLASSES)
    with pytest.raises(ValueError, match="BilinearPool takes 1 to 2 maps; got 3"):
        model(own, CLASSES, channels=(7, 7, 7))
    with pytest.raises(Exception, match="the backbone must give 2 maps; got 1"):
        driver(backend).logits(model(own, CLASSES, channels=(7, 7)), images(1, (9, 9), "float32"))


@over_backends
def test_pools_made_for_other_maps_are_refused(backend: str) -> None:
    model = driver(backend).model
    for pool in (SKETCH, SCORES):
        made = pool.made(backend)
        with pytest.raises(ValueError, match=rf"channels of {pool.name} must be \(512,\)"):
            model("resnet18", CLASSES, pool=made)
    with pytest.raises(ValueError, match=f"num_classes of {SCORES.name} must be 4; got {CLASSES}"):
        model("resnet18", 4, pool=SCORES.made(backend), projection=16)
    for words, inner in (
        (r"channels of CompactBilinearPool must be \(512,\); got 64", SKETCH),
        (
            "the pool of DemocraticPool must give a descriptor; got a LowRankBilinearClassifier",
            Layer(SCORES.name, SCORES.arguments | {"channels": 512}),
        ),
        ("pool must be a layer of one feature map; got a HierarchicalBilinearPool of 3", LEVELS),
    ):
        with pytest.raises(ValueError, match=words):
            model("resnet18", CLASSES, pool=Layer("DemocraticPool", {"pool": inner}).made(backend))


@over_backends
def test_invalid_pools_are_refused_alike(backend: str) -> None:
    build = driver(backend).model
    namespace = importlib.import_module(f"bilinear.{backend}")
    for pool in (3, [], namespace.BilinearPool, driver(backend).custom_network(7)):
        with pytest.raises(TypeError, match="BCNN: pool must be a layer instance with descr"):
            build("resnet18", CLASSES, pool=pool)
    with pytest.raises(ValueError, match="LowRankBilinearClassifier takes one map; got 2"):
        build("resnet18", CLASSES, backbone_b="resnet18", pool="lrbp")
    with pytest.raises(ValueError, match="BCNN: seed must be None or an integer from 0 up; got"):
        build("resnet18", CLASSES, seed=-1)


@over_backends
def test_a_pool_learns_in_the_dtype_of_its_model(backend: str) -> None:
    """Otherwise no file could describe it; tables and pools without weights have no dtype."""
    layer = Layer("LowRankBilinearPool", {"channels": 64, "dim": 2})
    arguments = {"taps": ("layer1",), "dtype": "float16"}
    words = "u of LowRankBilinearPool must be of the model's dtype float16; got float32"
    with pytest.raises(ValueError, match=words):
        driver(backend).model("resnet18", CLASSES, pool=layer.made(backend), **arguments)
    driver(backend).model("resnet18", CLASSES, pool=SKETCH.made(backend), **arguments)


@pytest.mark.skipif("tensorflow" not in PRESENT, reason="a dtype policy of Keras")
def test_policy_of_the_pool_alone_is_not_saved(tmp_path: Path) -> None:
    pool = Layer("BilinearPool", {"dtype": "mixed_float16"}).made("tensorflow")
    model = driver("tensorflow").model("resnet18", CLASSES, taps=("layer1",), pool=pool)
    words = "the pool must have the model's dtype policy float32; got mixed_float16"
    with pytest.raises(ValueError, match=words):
        driver("tensorflow").save(model, tmp_path / "model.safetensors")
    assert not list(tmp_path.iterdir())


@over_backends
def test_custom_backbone_with_several_feature_maps(backend: str, tmp_path: Path) -> None:
    path, x = tmp_path / "model.safetensors", images(2, (12, 14), "float32")
    network = driver(backend).custom_feature_maps(7, 5)
    model = driver(backend).model(network, CLASSES, channels=(7, 5))
    first, second = driver(backend).feature_maps(model, x)
    assert first.shape == (2, 10, 12, 7)
    assert second.shape == (2, 8, 10, 5)
    assert driver(backend).descriptors(model, x).shape == (2, 35)
    logits = driver(backend).logits(model, x)
    driver(backend).save(model, path, name="mine")
    opened = driver(backend).load(path, backbone=driver(backend).custom_feature_maps(7, 5, seed=9))
    np.testing.assert_array_equal(driver(backend).logits(opened, x), logits)
    with pytest.raises(ValueError, match="backbone"):
        driver(backend).load(path, backbone=driver(backend).custom_feature_maps(7, 6))


def test_feature_maps_are_those_of_the_whole_network() -> None:
    """In every framework and for both backbones, in the order of the taps."""
    x = images(2, (32, 48), "float64")
    taps = {"vgg16": ("relu5_3", "relu4_1", "relu5_1"), "resnet18": ("layer4", "layer1")}
    for backbone, names in taps.items():
        results = {}
        for backend in PRESENT:
            build = driver(backend).model
            model = build(backbone, CLASSES, taps=names[:2], dtype="float64")
            maps = driver(backend).feature_maps(model, x)
            whole = build(backbone, CLASSES, dtype="float64")
            np.testing.assert_array_equal(maps[0], driver(backend).feature_maps(whole, x)[0])
            results[backend] = {f"map {i}": value for i, value in enumerate(maps)}
        for (a, first), (b, second) in itertools.combinations(results.items(), 2):
            assert_models_agree(first, second, "float64", f"{backbone}, {a} against {b}")


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


@pytest.mark.skipif("tensorflow" not in PRESENT, reason="dtype policies are Keras'")
@pytest.mark.parametrize("dtype", ["mixed_float16", "float16", "float64"])
def test_inner_pool_has_the_accumulation_dtype(dtype: str, tmp_path: Path) -> None:
    """Made by the name of its class, by a preset, and from a file."""
    accumulation = "float64" if dtype == "float64" else "float32"
    for name in ("DemocraticPool", "democratic"):
        case = {"taps": ("layer1",), "projection": 8, "pool": name, "dtype": dtype}
        model = driver("tensorflow").model("resnet18", CLASSES, **case)
        assert model.pool.pool.compute_dtype == accumulation
        driver("tensorflow").save(model, tmp_path / "model.safetensors")
        opened = driver("tensorflow").load(tmp_path / "model.safetensors")
        assert opened.pool.pool.compute_dtype == accumulation
