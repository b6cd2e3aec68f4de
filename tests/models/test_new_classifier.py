"""A trained model with a new classifier: `reset_classifier`, `load` and `BCNN(weights=...)`."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bilinear.data.images import Preprocessing
from bilinear.models.construction import draw_classifier

from ..subjects import PRESENT, driver
from .test_models import images
from .test_pooled_models import SCORES, SIGNS, SKETCH, Layer, make

over_backends = pytest.mark.parametrize("backend", PRESENT)
PREPROCESSING = Preprocessing(64, mean=(0.5, 0.5, 0.5))
TAP = {"backbone": "vgg16", "taps": ("relu1_1",)}
CASES: dict[str, dict[str, Any]] = {
    "projection": TAP | {"projection": 8, "pool": Layer("BilinearPool", {"packed": True})},
    "tables": TAP | {"pool": SKETCH},
    "learned pool": TAP | {"pool": "LowRankBilinearPool", "projection": 8},
    "classifier as pool": TAP | {"projection": 16, "pool": SCORES},
    "two streams": {"backbone": "resnet18", "backbone_b": "resnet18"}
    | {"projection": 16, "pool": SIGNS},
}


def build(backend: str, case: str) -> Any:
    return make(backend, {"num_classes": 3, "seed": 5} | CASES[case])


def tensors(backend: str, model: Any, *, of_classifier: bool) -> dict[str, np.ndarray]:
    last = "pool." if hasattr(model.pool, "num_classes") else "classifier."
    found = driver(backend).tensors(model).items()
    return {name: array for name, array in found if name.startswith(last) is of_classifier}


def assert_equal(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert list(found) == list(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


@over_backends
@pytest.mark.parametrize("case", CASES)
def test_three_ways_give_one_model(backend: str, case: str, tmp_path: Path) -> None:
    """All tensors but the classifier's are the file's; the classifier is drawn from the seed."""
    path = tmp_path / "birds.safetensors"
    model = build(backend, case)
    driver(backend).assign(
        model,
        {k: v + 1 for k, v in driver(backend).tensors(model).items() if k.startswith("backbone")},
    )
    driver(backend).save(model, path, classes=["a", "b", "c"], preprocessing=PREPROCESSING)
    opened = driver(backend).load(path, num_classes=4)
    backbone = CASES[case]["backbone"]
    built = driver(backend).model(backbone, 4, weights=path)
    assert (opened.classes, opened.num_classes, opened.preprocessing) == (None, 4, PREPROCESSING)
    assert (built.classes, built.num_classes, built.preprocessing) == (None, 4, PREPROCESSING)
    assert_equal(driver(backend).tensors(opened), driver(backend).tensors(built))
    kept = tensors(backend, model, of_classifier=False)
    assert_equal(tensors(backend, opened, of_classifier=False), kept)
    x = images(2, (16, 16), "float32")
    model.reset_classifier(4)
    assert (model.classes, model.num_classes) == (None, 4)
    logits = driver(backend).logits(model, x)
    assert logits.shape == (2, 4)
    np.testing.assert_array_equal(logits, driver(backend).logits(opened, x))
    np.testing.assert_array_equal(logits, driver(backend).logits(built, x))
    drawn = tensors(backend, built, of_classifier=True)
    if "classifier.weight" in drawn:
        size = drawn["classifier.weight"].shape[1]
        assert_equal(drawn, draw_classifier(4, size, 0, "float32"))
    other = driver(backend).model(backbone, 4, weights=path, seed=1)
    for name, array in tensors(backend, other, of_classifier=True).items():
        assert name.endswith("bias") or (array != drawn[name]).any()
    driver(backend).save(model, tmp_path / "reset.safetensors", preprocessing=PREPROCESSING)
    driver(backend).save(built, tmp_path / "built.safetensors")
    assert (tmp_path / "reset.safetensors").read_bytes() == (
        tmp_path / "built.safetensors"
    ).read_bytes()


@over_backends
def test_a_new_classifier_trains(backend: str) -> None:
    """A step moves the new classifier, and no tensor of the old one is left."""
    model = build(backend, "projection")
    x, labels = images(2, (16, 16), "float32"), np.array([0, 4])
    driver(backend).sgd_step(model, x, np.array([0, 2]), None, lr=0.1)
    model.reset_classifier(5, seed=3)
    before = {name: array.copy() for name, array in driver(backend).tensors(model).items()}
    driver(backend).sgd_step(model, x, labels, None, lr=0.1)
    after = driver(backend).tensors(model)
    assert before["classifier.bias"].shape == (5,)
    for name in ("classifier.weight", "classifier.bias", "projection.weight"):
        assert (after[name] != before[name]).any(), name


@over_backends
def test_weights_are_cast_to_the_dtype_of_the_model(backend: str, tmp_path: Path) -> None:
    path = tmp_path / "birds.safetensors"
    model = build(backend, "projection")
    driver(backend).save(model, path)
    built = driver(backend).model("vgg16", 3, weights=str(path), dtype="bfloat16")
    for name, array in tensors(backend, built, of_classifier=False).items():
        expected = driver(backend).tensors(model)[name]
        np.testing.assert_array_equal(array, expected.astype(array.dtype), err_msg=name)
        assert array.dtype.name == "bfloat16"


@over_backends
def test_equal_arguments_are_accepted_and_others_refused(backend: str, tmp_path: Path) -> None:
    path, pair = tmp_path / "birds.safetensors", tmp_path / "pair.safetensors"
    model = driver(backend).model
    driver(backend).save(build(backend, "projection"), path)
    pool = Layer("BilinearPool", {"packed": True}).made(backend)
    equal = {"pool": pool, "projection": 8, "taps": ["relu1_1"], "channels": 64}
    model("vgg16", 2, weights=path, **equal)
    for words, arguments in (
        ("projection must be that of the file, 8; got 4", {"projection": 4}),
        (r"taps must be that of the file, \('relu1_1',\); got", {"taps": ("relu1_2",)}),
        ("pool must be that of the file, .*'packed': True", {"pool": "BilinearPool"}),
        ("pool must be that of the file", {"pool": "CovariancePool"}),
        ("backbone_b must be that of the file, None; got 'vgg16'", {"backbone_b": "vgg16"}),
    ):
        with pytest.raises(ValueError, match=words):
            model("vgg16", 2, weights=path, **arguments)
    with pytest.raises(ValueError, match="backbone must be that of the file, 'vgg16'; got 'resnet"):
        model("resnet18", 2, weights=path)
    own = driver(backend).custom_network(7)
    with pytest.raises(ValueError, match="backbone= must be left out for a file whose backbone"):
        model(own, 2, weights=path, channels=7)
    driver(backend).save(build(backend, "tables"), pair)
    other = Layer(SKETCH.name, SKETCH.arguments | {"seed": 4}).made(backend)
    with pytest.raises(ValueError, match=r"pool must be that of the file, .*'seed': 3"):
        model("vgg16", 2, weights=pair, pool=other)
    with pytest.raises(ValueError, match="This is a whole B-CNN: pass its portable file alone"):
        model("vgg16", 2, backbone_b="vgg16", weights=(path, path))


@over_backends
def test_wrong_arguments_are_refused(backend: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    model = build(backend, "projection")
    driver(backend).save(model, path, momentum={})
    for words, arguments in (
        ("num_classes must be a positive integer; got 0", {"num_classes": 0}),
        ("seed must be None or a non-negative integer; got -1", {"num_classes": 2, "seed": -1}),
    ):
        with pytest.raises(ValueError, match=words):
            model.reset_classifier(**arguments)
    assert driver(backend).tensors(model)["classifier.bias"].shape == (3,)
    with pytest.raises(ValueError, match=rf"load {path}: num_classes must be a positive"):
        driver(backend).load(path, num_classes=-3)
    with pytest.raises(ValueError, match="momentum=True must keep the classifier"):
        driver(backend).load(path, num_classes=3, momentum=True)


@over_backends
def test_no_seed_draws_other_weights_each_time(backend: str) -> None:
    """As NumPy's generators do; also of a pool that is made by its name."""
    case = TAP | {"projection": 8, "pool": "LowRankBilinearPool", "num_classes": 3, "seed": None}
    first, second = (driver(backend).tensors(driver(backend).model(**case)) for _ in range(2))
    for name, array in first.items():
        if not name.endswith("bias"):
            assert (array != second[name]).any(), name
    model = build(backend, "projection")
    model.reset_classifier(3, seed=None)
    drawn = driver(backend).tensors(model)["classifier.weight"]
    model.reset_classifier(3, seed=None)
    assert (driver(backend).tensors(model)["classifier.weight"] != drawn).any()
