"""The command line in each framework: its output equals what the library computes."""

import csv
import inspect
import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("typer", reason="the extra cli is absent")

from bilinear.analysis import metrics
from bilinear.analysis.descriptors import open_descriptors
from bilinear.cli._model import Model
from bilinear.data import open_dataset
from bilinear.data.images import Preprocessing, load_images
from bilinear.models.plans import DTYPES

from .. import datasets
from ..agreement import relative_error
from ..subjects import PRESENT, driver
from ..tolerances import LOGITS

if not PRESENT:
    pytest.skip("no framework", allow_module_level=True)

CLASSES = ("finch", "robin", "wren")
PREPROCESSING = Preprocessing(24, 28)

over_frameworks = pytest.mark.parametrize("framework", PRESENT)


def save_model(folder: Path, dtype: str = "float32") -> Path:
    """Save a small model whose logits differ between images, with the first framework."""
    made, path = driver(PRESENT[0]), folder / "model.safetensors"
    options = {"taps": ("layer1",), "projection": 8, "seed": 3, "dtype": dtype}
    model = made.model("resnet18", len(CLASSES), **options)
    weight = np.random.default_rng(4).normal(0, 5, (len(CLASSES), 64))
    made.assign(model, {"classifier.weight": weight.astype(DTYPES[dtype])})
    made.save(model, path, classes=CLASSES, preprocessing=PREPROCESSING)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("cli")
    for split, count in (("train", 2), ("test", 3)):
        datasets.photographs(root / "birds" / split, **dict.fromkeys(CLASSES, count))
    (root / "birds/test/wren/0.jpg").unlink()  # eight images: two batches of three, one of two
    save_model(root)
    return root


def expected_logits(folder: Path, paths: list[Path], mirror: bool = False) -> np.ndarray:
    """The logits of the first framework, without the command line."""
    model = driver(PRESENT[0]).load(folder / "model.safetensors")
    images = load_images(paths, PREPROCESSING)
    return driver(PRESENT[0]).logits(model, images[:, :, ::-1].copy() if mirror else images)


@over_frameworks
def test_info_opens_the_model_with_framework(framework: str, folder: Path, command) -> None:
    """Only with --framework are tensors read: a NaN is found then."""
    file, options = folder / "model.safetensors", ("--framework", framework, "--json")
    plain = json.loads(command("info", file, "--json"))
    found = json.loads(command("info", file, *options))
    assert found.pop("opened_in").startswith(f"{framework} ")
    assert found == plain
    broken = folder / "broken.safetensors"
    broken.write_bytes(file.read_bytes()[:-4] + np.float32("nan").tobytes())
    assert command("info", broken, "--json")
    assert "broken.safetensors" in command("info", broken, *options, code=2)
    assert "--framework must be one of" in command("info", file, "--framework", "x", code=2)


@pytest.mark.skipif("torch" not in PRESENT, reason="PyTorch writes this format")
def test_export(folder: Path, tmp_path: Path, command) -> None:
    file, target = folder / "model.safetensors", tmp_path / "birds.pt2"
    image = folder / "birds" / "test" / "finch" / "0.jpg"
    out = command("export", file, target, "--image", image)
    assert f"{file} -> {target} (torch.export): {target.stat().st_size:,} bytes" in out
    assert "logits equal within" in out
    refused = command("export", file, tmp_path / "birds.xml", code=2)
    assert "must end in one of .onnx, .pt2" in refused


@over_frameworks
def test_predict(framework: str, folder: Path, command) -> None:
    """A folder, a glob and a file, in order. The last batch has one image and is padded."""
    birds = folder / "birds" / "test"
    paths = sorted((birds / "finch").iterdir())
    paths += [birds / "robin/0.jpg", birds / "robin/1.jpg", birds / "robin/2.jpg"]
    paths.append(birds / "wren/1.jpg")
    inputs = (birds / "finch", birds / "robin/?.jpg", birds / "wren/1.jpg")
    options = ("--framework", framework, "-k", 2, "--batch-size", 3)
    model = folder / "model.safetensors"
    printed = command("predict", model, *inputs, *options, "--json")
    lines = [json.loads(line) for line in printed.splitlines()]
    assert [line["image"] for line in lines] == list(map(str, paths))
    probabilities = metrics.softmax(expected_logits(folder, paths))
    for line, expected in zip(lines, probabilities, strict=True):
        first, second = line["predictions"]
        assert first["probability"] > second["probability"] > 0
        for one in (first, second):
            assert CLASSES[one["index"]] == one["class"]
            # the slope is p(1 − p) ≤ 1/4; the error of a logit is 8e-5 of its size, which is < 100
            assert one["probability"] == pytest.approx(expected[one["index"]], abs=2e-3)
        assert first["index"] == expected.argmax()
    text = command("predict", model, inputs[2], *options)
    best = lines[-1]["predictions"][0]
    assert text.startswith(f"{inputs[2]}  {best['class']} {best['probability']:.2f}")
    assert text.count("\n") == 1


@pytest.mark.parametrize(
    ("framework", "mirror"), [(PRESENT[0], True), *((name, False) for name in PRESENT)]
)
def test_evaluate(framework: str, mirror: bool, folder: Path, command, tmp_path: Path) -> None:
    index = open_dataset(folder / "birds")
    items = index.split("test")
    paths = [index.root / item.path for item in items]
    labels = np.array([item.label for item in items])
    logits = expected_logits(folder, paths)
    if mirror:
        logits = (logits + expected_logits(folder, paths, mirror=True)) / 2
    options = ["--framework", framework, "--batch-size", 3, "--json", "--out", tmp_path / "out"]
    options += ["--mirror"] if mirror else []
    printed = command("evaluate", folder / "model.safetensors", folder / "birds", *options)
    report = json.loads(printed)
    assert report == json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert (report["split"], report["images"], report["skipped"]) == ("test", 8, 0)
    assert ("mirror" in report["logits"]) == mirror
    assert report["loss"] == pytest.approx(metrics.cross_entropy(logits, labels), rel=1e-3)
    assert report["top1"] == metrics.top_k_accuracy(logits, labels)
    assert report["top5"] == 1
    ece = metrics.calibration_error(logits, labels)
    assert report["calibration_error"] == pytest.approx(ece, abs=2e-3)
    confusion = metrics.confusion_matrix(logits, labels)
    accuracies = metrics.class_accuracies(confusion)
    assert [row["accuracy"] for row in report["classes"]] == accuracies.tolist()
    assert report["mean_class_accuracy"] == accuracies.mean()
    assert report["confusion"] == confusion.tolist()
    rows = list(csv.reader((tmp_path / "out" / "confusion.csv").read_text().splitlines()))
    assert rows[0][1:] == [row[0] for row in rows[1:]] == list(CLASSES)
    np.testing.assert_array_equal(np.array([row[1:] for row in rows[1:]], int), confusion)


@over_frameworks
def test_descriptors_and_retrieve(framework: str, folder: Path, command, tmp_path: Path) -> None:
    out, model = tmp_path / "birds.npy", folder / "model.safetensors"
    options = ("--framework", framework, "--batch-size", 4, "--split", "test")
    assert command("descriptors", model, folder / "birds", out, *options) == ""
    descriptors, rows = open_descriptors(out)
    index = open_dataset(folder / "birds")
    paths = [str(index.root / item.path) for item in index.split("test")]
    assert rows.paths == paths
    assert rows.labels == [item.label for item in index.split("test")]
    made = driver(PRESENT[0])
    expected = made.descriptors(made.load(model), load_images(paths, PREPROCESSING))
    assert descriptors.dtype == np.float32
    assert relative_error(descriptors, expected) <= LOGITS["float32"]
    printed = command("retrieve", out, model, paths[4], "-k", 3, "--json", *options[:2])
    found = [json.loads(line) for line in printed.splitlines()]
    similarity = expected @ expected[4]
    order = np.argsort(-similarity)[:3]
    assert [one["image"] for one in found] == [paths[k] for k in order]
    assert found[0]["image"] == paths[4]
    assert found[0]["class"] == "robin"
    values = np.array([one["similarity"] for one in found])
    assert relative_error(values, similarity[order]) <= LOGITS["float32"]


@over_frameworks
@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
def test_a_model_computes_in_its_dtype(framework: str, dtype: str, tmp_path: Path) -> None:
    """Images are cast to the dtype. Results are float64 for a float64 model, else float32."""
    path = save_model(tmp_path, dtype)
    images = np.random.default_rng(2).standard_normal((2, 24, 24, 3)).astype(np.float32)
    logits = Model(path, framework, 3).logits(images)
    assert logits.dtype == (np.float64 if dtype == "float64" else np.float32)
    assert np.isfinite(logits).all()
    if dtype == "float64":
        made = driver(PRESENT[0])
        expected = made.logits(made.load(path), images.astype(np.float64))
        assert relative_error(logits, expected) <= LOGITS[dtype]


@pytest.mark.parametrize("framework", [f for f in PRESENT if f != "torch"])
def test_only_one_shape_is_compiled(framework: str, folder: Path, capsys) -> None:
    model = Model(folder / "model.safetensors", framework, 4)
    for count in (4, 1, 3, 2):
        images = np.zeros((count, 24, 24, 3), np.float32)
        assert model.logits(images).shape == (count, 3)
        assert model.descriptors(images).shape == (count, 64)
    for call in (model._inference.logits, model._inference.descriptors):
        compiled = inspect.getclosurevars(call).nonlocals["compiled"]
        count = {"jax": "_cache_size", "tensorflow": "experimental_get_tracing_count"}[framework]
        assert getattr(compiled, count)() == 1
    assert framework in capsys.readouterr().err
