"""``bilinear classifier``: a linear SVM in place of the classifier of a model file."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("typer", reason="the extra cli is absent")

from bilinear._files import file_checksum
from bilinear.analysis.descriptors import Rows, open_descriptors, write_descriptors
from bilinear.cli import run
from bilinear.cli.classifier import _held_out
from bilinear.models import checkpoint

from ..datasets import color_images
from ..models.test_checkpoint import assert_same, describe, layout, tiny
from ..subjects import PRESENT, driver

CLASSES = describe().classes or ()
LABELS = [0, 1, 2] * 6
ROWS = (np.eye(4)[LABELS] + 0.1 * np.random.default_rng(0).random((18, 4))).astype(np.float32)
needs_sklearn = pytest.mark.usefixtures("sklearn")


@pytest.fixture
def sklearn() -> None:
    pytest.importorskip("sklearn", reason="the extra svm is absent")


def write_rows(path: str, model: str, classes: Any = CLASSES, labels: Any = LABELS) -> None:
    about = {"model": model, "sha256": file_checksum(model), "classes": classes}
    with write_descriptors(path, 4, **about) as writer:
        paths = [f"/{k}.jpg" for k in range(len(labels))]
        writer.append(ROWS[: len(labels)], paths, labels)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model of three classes with momentum, and descriptors of images of these classes."""
    monkeypatch.chdir(tmp_path)
    momentum = {"classifier.bias": tiny()["classifier.bias"]}
    checkpoint.write("m.safetensors", describe(), tiny(), momentum)
    write_rows("f.npy", "m.safetensors")
    return tmp_path


@needs_sklearn
@pytest.mark.parametrize("options", ["", "--c 1", "--fraction 0.3 --seed 4", "--validation g.npy"])
def test_only_the_classifier_changes(
    options: str, folder: Path, command: Callable[..., str], capsys
) -> None:
    """No framework is needed. The names of the classes are those of the descriptors."""
    unnamed = describe(classes=None)
    checkpoint.write("m.safetensors", unnamed, tiny())
    for name in "f.npy", "g.npy":
        write_rows(name, "m.safetensors")
    assert run(["classifier", *f"f.npy m.safetensors -o new.safetensors {options}".split()]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("new.safetensors: linear SVM with C = ")
    assert captured.out.endswith(" on 18 descriptors of 3 classes\n")
    assert ("C = 0.1: accuracy 100.0% on" in captured.err) == (options != "--c 1")
    found = checkpoint.read("new.safetensors", layout(tiny()))
    assert replace(found.description, classes=None) == unnamed
    assert found.description.classes == CLASSES
    head = {name: found.tensors[name] for name in found.tensors if name.startswith("classifier.")}
    assert_same(found.tensors, tiny() | head)
    scores = ROWS @ head["classifier.weight"].T + head["classifier.bias"]
    assert scores.argmax(1).tolist() == LABELS
    medians = [np.median(scores[np.equal(LABELS, k), k]) for k in range(3)]
    np.testing.assert_allclose(medians, 1, atol=1e-6)


def test_an_image_and_its_mirror_image_are_both_validation_images_or_neither() -> None:
    paths = [f"/{k}.jpg" for k in range(18)]
    one, two = (Rows("m", "", CLASSES, n * paths, n * LABELS) for n in (1, 2))
    held = _held_out(one, 0.34, 1)
    assert held.sum() == 6
    assert _held_out(two, 0.34, 1).tolist() == 2 * held.tolist()


@needs_sklearn
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("f.npy m.safetensors -o m.safetensors", "an output must not replace an input"),
        ("f.npy m.safetensors -o f.npy.json", "an output must not replace an input"),
        ("f.npy m.safetensors -o n --validation f.npy --seed 1", "got --validation, --seed. Leave"),
        ("f.npy m.safetensors -o n --c 1 --fraction 0.5", "got --c, --fraction. Leave"),
        ("f.npy m.safetensors -o n --c 0", "--c must be positive and finite; got 0.0"),
        ("f.npy other.safetensors -o n", "f.npy must contain descriptors of other.safetensors"),
        ("few.npy m.safetensors -o n", "there must be a validation image; got one image a class"),
        ("none.npy m.safetensors -o n", "each class must have an image; got none of gravé"),
        (
            "names.npy m.safetensors -o n",
            "must have the same classes in the same order; got only in the features: stone; "
            "only in the model: brick.",
        ),
        (
            "order.npy m.safetensors -o n",
            "got class 0 is grass in the features, brick in the model",
        ),
    ],
)
def test_invalid_arguments_are_refused(
    line: str, words: str, folder: Path, command: Callable[..., str]
) -> None:
    brick, grass, grave = CLASSES
    checkpoint.write("other.safetensors", describe(classes=None), tiny())
    write_rows("few.npy", "m.safetensors", labels=[0, 1, 2])
    write_rows("none.npy", "m.safetensors", labels=[0, 1, 0, 1, -1])
    write_rows("names.npy", "m.safetensors", classes=("stone", grass, grave))
    write_rows("order.npy", "m.safetensors", classes=(grass, brick, grave))
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert words in command("classifier", *line.split(), code=2)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_without_scikit_learn_one_sentence_says_what_to_install(
    folder: Path, command: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bilinear._require._missing", list)
    message = command("classifier", "f.npy", "m.safetensors", "-o", "n.safetensors", code=2)
    words = "needs sklearn, not installed here; pip install 'bilinear[svm]' installs what it needs."
    assert message == f"bilinear: bilinear classifier {words}"


LATER = [pytest.param(name, marks=pytest.mark.full) for name in PRESENT[1:]]


@needs_sklearn
@pytest.mark.parametrize("backend", [*PRESENT[:1], *LATER])
def test_every_framework_gives_the_predictions_of_the_svm(
    backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Callable[..., str]
) -> None:
    from bilinear.data.images import Preprocessing  # noqa: PLC0415

    monkeypatch.chdir(tmp_path)
    color_images(tmp_path / "pictures")
    made = driver(PRESENT[0])
    model = made.model("resnet18", 3, taps=("layer1",), projection=4)
    about = {"classes": ("blue", "green", "red"), "preprocessing": Preprocessing(16)}
    made.save(model, tmp_path / "m.safetensors", **about)
    words = "m.safetensors", "pictures", "f.npy", "--mirror", "--framework", PRESENT[0]
    command("descriptors", *words)
    command("classifier", "f.npy", "m.safetensors", "-o", "svm.safetensors")
    rows, about_rows = open_descriptors("f.npy")
    with checkpoint.open_portable("svm.safetensors") as file:
        weight, bias = (file.reader.get_tensor(f"classifier.{name}") for name in ("weight", "bias"))
    assert about_rows.paths[:18] == about_rows.paths[18:]  # images, then their mirror images
    expected = ((rows[:18] + rows[18:]) / 2 @ weight.T + bias).argmax(1)
    confusion = np.zeros((3, 3), int)
    np.add.at(confusion, (about_rows.labels[:18], expected), 1)
    assert confusion.trace() > 12
    words = "svm.safetensors", "pictures", "--split", "all", "--mirror", "--framework", backend
    assert json.loads(command("evaluate", *words, "--json"))["confusion"] == confusion.tolist()
