"""``bilinear explain`` and the feature maps that it uses, in every framework."""

import itertools
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bilinear.analysis.heat_maps import explain
from bilinear.data.images import Preprocessing, load_image
from bilinear.models.inference import Inference
from bilinear.models.plans import DTYPES

from ..agreement import relative_error
from ..models.test_checkpoint import describe
from ..models.test_models import images
from ..selection import FULL
from ..subjects import PRESENT, driver, needs_a_framework
from ..tolerances import HEAT, LOGITS, score_bound

pytest.importorskip("typer", reason="the extra cli is absent")

over_backends = pytest.mark.parametrize("backend", PRESENT)
CLASSES = ("wren", "finch", "1")
CASES: dict[str, dict[str, Any]] = {
    "one map": {"taps": ("layer1",)},
    "projected": {"taps": ("layer1",), "projection": 8},
    "two maps of two sizes": {"taps": ("layer2", "layer1")},
    "bfloat16": {"taps": ("layer1",), "dtype": "bfloat16"},
}


DEGREES: dict[str, tuple[Any, int]] = {
    "AveragePool": ("AveragePool", 1),
    "CovariancePool": ("CovariancePool", 1),
    "lrbp": ("lrbp", 2),
    "OuterMaxPool": ({"name": "OuterMaxPool", "eps": 0.0}, 0),
}
"""Pools, and the degree of their scores as homogeneous functions of the features."""


@pytest.mark.parametrize("case", CASES)
def test_inputs_of_explain_are_equal_in_every_framework(case: str) -> None:
    x, heats = images(2, (32, 48), "float32"), {}
    for backend in PRESENT:
        model = driver(backend).model("resnet18", 3, seed=4, **CASES[case])
        dtype = CASES[case].get("dtype", "float32")
        cast = x.astype(DTYPES[dtype])
        own = driver(backend).logits(model, cast), driver(backend).descriptors(model, cast)
        maps, descriptors, logits = Inference(model, backend).stages(x)
        assert logits.dtype.name == dtype
        if dtype == "float32":  # compilers may round bfloat16 differently
            assert relative_error(logits, own[0]) <= LOGITS[dtype]
            assert relative_error(descriptors, own[1]) <= LOGITS[dtype]
        assert {m.shape[:3] for m in maps} == {maps[0].shape[:3]}
        tensors = driver(backend).tensors(model)
        second = maps[1][1] if len(maps) == 2 else None
        weight, bias = tensors["classifier.weight"][2], tensors["classifier.bias"][2]
        explained = explain(maps[0][1], second, descriptors[1], weight, bias)
        sizes = np.abs(weight.astype(np.float64) * descriptors[1].astype(np.float64)).sum()
        bound = score_bound(weight.size, sizes, dtype)
        assert abs(explained.score - float(logits[1, 2])) <= bound
        heats[backend] = explained.heat, sizes
    if case.endswith(("map", "sizes")):  # in the other cases terms cancel or are rounded
        for (a, (first, sizes)), (b, (other, _)) in itertools.combinations(heats.items(), 2):
            assert np.abs(first - other).sum() <= HEAT * sizes, f"{a} against {b}"


def save_files(folder: Path, backend: str, **options: Any) -> tuple[Path, Path]:
    """Write a model file and an image file."""
    file, photograph = folder / "model.safetensors", folder / "bird.png"
    settings: dict[str, Any] = {"classes": CLASSES, "preprocessing": Preprocessing(48, 64)}
    settings |= {k: options.pop(k) for k in settings.keys() & options.keys()}
    options = {"taps": ("layer1",), "projection": 8} | options
    model = driver(backend).model("resnet18", 3, **options)
    driver(backend).save(model, file, **settings)
    pixels = np.random.default_rng(2).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(photograph)
    return file, photograph


@over_backends
def test_the_command_writes_an_image_and_a_report(backend: str, tmp_path: Path, command) -> None:
    file, photograph = save_files(tmp_path, backend)
    x = load_image(photograph, Preprocessing(48, 64))[None]
    logits = driver(backend).logits(driver(backend).load(file), x)[0]
    common = "explain", file, photograph, "--framework", backend, "-o", tmp_path / "out.png"
    report = json.loads(command(*common, "--json", "--pairs", 3))
    predicted = int(np.argmax(logits))
    assert (report["index"], report["class"]) == (predicted, CLASSES[predicted])
    assert abs(report["score"] - logits[predicted]) <= LOGITS["float32"] * np.abs(logits).max()
    total = report["for"] + report["against"] + report["bias"]
    assert total == pytest.approx(report["score"], abs=LOGITS["float32"])
    values = [pair["contribution"] for pair in report["pairs"]]
    assert values == sorted(values, reverse=True)
    assert len(values) == 3
    heat = np.array(report["heat"])
    assert heat.shape == (12, 12)
    assert heat.sum() == pytest.approx(report["score"] - report["bias"], abs=LOGITS["float32"])
    with Image.open(tmp_path / "out.png") as drawn:
        assert drawn.format == "PNG"
        assert drawn.width == 448 + 8 + 448  # the image, enlarged from 48 pixels, and the heat map
        assert drawn.height > 448
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bird.png", file.name, "out.png"]
    other = CLASSES[(predicted + 1) % 3]
    table = command(*common, "--class", other, "--pairs", 2)
    assert table.startswith(f"{other}: score")
    assert f"written: {tmp_path / 'out.png'}\n" in table
    assert table.endswith("with --class OTHER does not distinguish the two classes.\n")


def test_a_model_file_that_is_replaced_meanwhile_is_refused() -> None:
    from bilinear.cli._model import check_described  # noqa: PLC0415 - needs the extra cli

    description = describe()
    model: Any = SimpleNamespace(num_classes=3, classes=description.classes, preprocessing=None)
    with pytest.raises(ValueError, match=r"^load m: the file must not be replaced"):
        check_described(Path("m"), model, description)
    model.preprocessing = description.preprocessing
    check_described(Path("m"), model, description)


@needs_a_framework
def test_heat_of_two_streams_sums_to_the_score(tmp_path: Path, command) -> None:
    files = save_files(tmp_path, PRESENT[0], taps=("layer2", "layer1"), projection=None)
    options = "-o", tmp_path / "out.png", "--json", "--pairs", 500
    report = json.loads(command("explain", *files, *options))
    total = report["for"] + report["against"] + report["bias"]
    assert total == pytest.approx(report["score"], abs=LOGITS["float32"])
    assert max(pair["first"] for pair in report["pairs"]) > 63  # of 128 × 64 channels
    assert max(pair["second"] for pair in report["pairs"]) < 64
    assert np.shape(report["heat"]) == (6, 6)


@over_backends
@pytest.mark.parametrize("pool", DEGREES)
def test_other_pools_are_explained_by_gradients(
    pool: str, backend: str, tmp_path: Path, command
) -> None:
    """Heat sums to the degree of the score in the features times the score minus the bias."""
    if pool != "AveragePool" and backend != PRESENT[0] and not FULL:
        pytest.skip("one pool for each framework, all pools in one")
    options, degree = DEGREES[pool]
    files = save_files(tmp_path, backend, pool=options, dtype="float64")
    words = "explain", *files, "-o", tmp_path / "out.png", "--framework", backend, "--json"
    report = json.loads(command(*words))
    heat, total = np.array(report["heat"]), np.abs(report["heat"]).sum()
    assert (report["method"], report["pairs"]) == ("gradient times input", [])
    assert heat.shape == (12, 12)
    assert total > 0
    tensors = driver(backend).tensors(driver(backend).load(files[0]))
    (name,) = {"classifier.bias", "pool.bias"} & tensors.keys()
    expected = degree * (report["score"] - float(tensors[name][report["index"]]))
    assert abs(heat.sum() - expected) <= LOGITS["float64"] * total


@needs_a_framework
def test_a_class_is_given_by_name_or_index(tmp_path: Path, command) -> None:
    """Names come before indices: here the name of class 2 is "1"."""
    words = "explain", *save_files(tmp_path, PRESENT[0]), "-o", tmp_path / "out.png", "--class"
    found = {n: json.loads(command(*words, n, "--json"))["index"] for n in ("finch", "1", "0")}
    assert found == {"finch": 1, "1": 2, "0": 0}
    for wrong in ("owl", "3", "-1"):
        message = "--class must be a class name of the file or an index below 3; got "
        assert message + repr(wrong) in command(*words, wrong, code=2)


@needs_a_framework
def test_unsupported_models_and_images_are_refused_before_writing(tmp_path: Path, command) -> None:
    files = save_files(tmp_path, PRESENT[0], preprocessing=None)
    message = "must contain the preprocessing of images"
    assert message in command("explain", *files, "-o", tmp_path / "out.png", code=2)
    file, photograph = save_files(tmp_path, PRESENT[0])
    photograph.write_bytes(photograph.read_bytes()[:100])
    words = "explain", file, photograph, "-o", tmp_path / "out.png"
    assert "bird.png must be a complete image file" in command(*words, code=2)
    message = "--framework must be one of torch, tensorflow, jax; got 'caffe'"
    assert message in command(*words, "--framework", "caffe", code=2)
    assert not (tmp_path / "out.png").exists()
