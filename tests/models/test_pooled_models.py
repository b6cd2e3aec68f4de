"""B-CNNs with every pool, projections and several feature maps, equal in every framework.

The networks are cut after their first layers, so that they are quick.
"""

import importlib
import itertools
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from safetensors import safe_open

from ..agreement import relative_error
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
        "pool": Layer(
            "BilinearPool",
            {"packed": True, "norm": "added", "reduction": "sum", "eps": 1e-3, "l2_eps": 1e-6},
        ),
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
    return make(backend, {"backbone": "resnet18", "num_classes": CLASSES} | CASES[case] | options)


def make(backend: str, arguments: dict[str, Any]) -> Any:
    pool = arguments.get("pool")
    pool = pool.made(backend) if isinstance(pool, Layer) else pool
    return driver(backend).model(**arguments | {"pool": pool})


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
    for backend in PRESENT if case == "integer tables" else ():
        if hasattr(driver(backend), "without_64_bits"):  # JAX then has the tables as int32
            with driver(backend).without_64_bits():
                opened = driver(backend).load(tmp_path / f"{PRESENT[0]}.safetensors")
                for narrow in (build(backend, case, seed=5), opened):
                    driver(backend).save(narrow, tmp_path / "narrow.safetensors")
                    assert (tmp_path / "narrow.safetensors").read_bytes() == contents[backend]


@pytest.mark.parametrize(("case", "dtype"), [("plain", "float32"), ("preset of scores", "float64")])
def test_momentum_is_read_by_every_framework(case: str, dtype: str, tmp_path: Path) -> None:
    """The file has the buffers of all parameters, whose gradients have the same names."""
    x, labels = images(2, (32, 32), dtype), np.array([0, 2])
    cotangent, sgd, parameters = np.ones((2, CLASSES), dtype), {"lr": 0.1, "momentum": 0.9}, set()
    for backend in PRESENT:
        model = build(backend, case, dtype=dtype)
        _, gradients, _ = driver(backend).gradients(model, x, cotangent, training=False)
        state = driver(backend).sgd_step(model, x, labels, None, weight_decay=1e-4, **sgd)
        buffers = driver(backend).momentum(model, state)
        path = tmp_path / f"{backend}.safetensors"
        driver(backend).save(model, path, momentum=buffers)
        with safe_open(path, "np") as file:
            found = {name for name in file.keys() if name.startswith("momentum.")}  # noqa: SIM118
        assert found == {f"momentum.{name}" for name in gradients}
        parameters = parameters or gradients.keys()
        assert parameters == gradients.keys()
        for reader in PRESENT:
            opened, read = driver(reader).load(path, momentum=True)
            again = tmp_path / "again.safetensors"
            driver(reader).save(opened, again, momentum=read)
            assert again.read_bytes() == path.read_bytes(), reader


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
