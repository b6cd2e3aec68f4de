"""Which images a command takes of a data set: parts, cuts, boxes, levels and banners."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("typer", reason="the extra cli is absent")

from bilinear.analysis.descriptors import open_features
from bilinear.cli import run
from bilinear.cli.evaluate import measured, most_confused, text_of
from bilinear.data import open_dataset
from bilinear.train import Group, Images, Phase

from ..agreement import relative_error
from ..datasets import BANNER, aircraft, coloured
from ..subjects import PRESENT
from ..tolerances import LOGITS
from ..training import recipe

if not PRESENT:
    pytest.skip("no framework", allow_module_level=True)

PHASES = (Phase("head", (Group("head", 0.125),), 1),)


def said(capsys: pytest.CaptureFixture, *arguments: object, code: int = 0) -> str:
    """What a command that ends with `code` prints; of a refusal what it says."""
    found = run([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    assert found == code, captured.err
    return captured.err if code else captured.out


def trained(folder: Path, data: Path, *options: object) -> Path:
    """The best model of a short run on a data set."""
    (folder / "mine.json").write_text(recipe(images=Images(32, 36), phases=PHASES).to_json())
    words = ["train", folder / "mine.json", data, folder / "run", "--workers", 0, *options]
    assert run([str(word) for word in words]) == 0
    return folder / "run" / "best.safetensors"


def test_the_part_that_a_run_validated_on_is_evaluated(tmp_path: Path, capsys) -> None:
    """With the run's own fraction and seed, or those given, else by the defaults of train."""
    data = coloured(tmp_path / "pictures")
    model = trained(tmp_path, data, "--fraction", 0.34, "--set", "seed=3")
    capsys.readouterr()
    record = tmp_path / "run" / "data.json"
    assert json.loads(record.read_text()) == {"fraction": 0.34, "seed": 3}
    validation = "evaluate", model, data, "--json", "--part", "validation"
    (*_, epoch) = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    report = json.loads(said(capsys, *validation))
    assert (report["images"], report["fraction"], report["seed"]) == (6, 0.34, 3)
    loss = np.array(json.loads(epoch)["validation_loss"])
    assert relative_error(np.array(report["loss"]), loss) <= LOGITS["float64"]
    phase = tmp_path / "run" / "phases" / "1-head.safetensors"
    assert json.loads(said(capsys, "evaluate", phase, *validation[2:]))["loss"] == report["loss"]
    other = json.loads(said(capsys, *validation, "--seed", 0))
    assert (other["fraction"], other["loss"] == report["loss"]) == (0.34, False)

    out = tmp_path / "f.npy"
    assert said(capsys, "features", model, data, out, "--part", "validation") == ""
    kept = {data / path for path in open_features(out)[1].paths}
    assert len(kept) == 6

    record.write_text("{}")
    assert "must say the fraction and the seed of the run" in said(capsys, *validation, code=2)
    record.unlink()
    report = json.loads(said(capsys, *validation))
    assert (report["images"], report["fraction"], report["seed"]) == (3, 0.1, 0)
    refusal = said(capsys, "evaluate", model, data, code=2)
    assert "A folder needs test/ beside train/; or choose --part validation." in refusal
    refusal = said(capsys, "evaluate", model, data, "--part", "train", "--seed", 0, code=2)
    assert "are of --part validation; got --seed for train" in refusal
    assert "fraction must lie between" in said(capsys, *validation, "--fraction", 1, code=2)


@pytest.fixture(scope="module")
def planes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two families of aircraft in their boxes, and a model that was trained on these."""
    folder = tmp_path_factory.mktemp("planes")
    data = aircraft(folder / "planes")
    return data, trained(folder, data, "--subset", "--level", "family", "--boxes")


def test_boxes_and_levels_reach_the_images(planes, tmp_path: Path, capsys) -> None:
    data, model = planes
    whole, cut, crops = (tmp_path / f"{name}.npy" for name in ("whole", "cut", "crops"))
    subset = "--subset", "--level", "family"
    said(capsys, "features", model, data, whole, *subset)
    said(capsys, "features", model, data, cut, *subset, "--boxes")
    for item in open_dataset(data, check_counts=False).items:
        path = data / "data" / item.path
        Image.open(path).crop((10, 5, 50, 35)).save(tmp_path / f"{path.stem}.png")
    said(capsys, "features", model, tmp_path / "*.png", crops)
    (first, _), (second, rows), (third, _) = map(open_features, (whole, cut, crops))
    assert rows.classes == ["A300", "F/A-18"]
    np.testing.assert_array_equal(second, third)
    assert (np.abs(first - second).max(1) > 0).all()

    evaluate = "evaluate", model, data, "--subset"
    assert "images              2\n" in said(capsys, *evaluate, "--level", "family", "--boxes")
    assert "classes of model and data must agree" in said(capsys, *evaluate, code=2)


def test_what_a_data_set_does_not_have_is_refused(planes, tmp_path: Path, capsys) -> None:
    _, model = planes
    data = coloured(tmp_path / "pictures")
    for command in (
        ("train", "multi-phase", data, tmp_path / "run"),
        ("evaluate", model, data),
        ("features", model, data, tmp_path / "f.npy"),
    ):
        sentence = "options of folder are check_counts; got "
        assert f"{sentence}boxes. Leave" in said(capsys, *command, "--boxes", code=2)
        assert f"{sentence}level. Leave" in said(capsys, *command, "--level", "family", code=2)
    images = "features", model, data / "red", tmp_path / "f.npy"
    assert "are of a data set; got images" in said(capsys, *images, "--boxes", code=2)
    assert not (tmp_path / "run").exists()


def test_banners_are_dropped_where_an_image_is_named(planes, tmp_path: Path, capsys) -> None:
    """As they are in training; an image is nearest to itself only without."""
    data, model = planes
    image, out = data / "data" / "images" / "0000004.jpg", tmp_path / "planes.npy"
    said(capsys, "features", model, data, out, "--subset")
    retrieve = "retrieve", out, model, image, "-k", 1, "--json"
    found = json.loads(said(capsys, *retrieve, "--banner", BANNER))
    assert found["image"] == str(image)
    assert abs(found["similarity"] - 1) <= LOGITS["float32"]
    assert json.loads(said(capsys, *retrieve))["similarity"] < 1 - LOGITS["float32"]

    whole = Image.open(image)
    whole.crop((0, 0, whole.width, whole.height - BANNER)).save(tmp_path / "cut.png")
    predict = "predict", model, image, "--json"
    explain = "explain", model, image, "-o", tmp_path / "why.png", "--json"
    for command in predict, explain:
        with_banner, without = said(capsys, *command), said(capsys, *command, "--banner", BANNER)
        of_the_cut = (tmp_path / "cut.png" if word == image else word for word in command)
        same = said(capsys, *of_the_cut).replace(f"{tmp_path / 'cut.png'}", f"{image}")
        assert without == same != with_banner
    assert "above its banner" in said(capsys, *retrieve, "--banner", 99, code=2)


def test_the_most_confused_classes_are_told() -> None:
    """Of three finches one is taken for a robin, and of four wrens two for a finch."""
    labels, taken = np.array([0, 0, 0, 1, 2, 2, 2, 2]), [0, 0, 1, 1, 0, 0, 2, 2]
    confusion = np.array([[2, 1, 0], [0, 1, 0], [2, 0, 2]])
    assert most_confused(confusion) == [(2, 0, 2), (0, 1, 1)]
    assert most_confused(confusion, 1) == [(2, 0, 2)]
    report = measured(np.eye(3)[taken], labels, confusion, ("finch", "robin", "wren"))
    assert text_of(report).splitlines()[-3:] == [
        "most confused, images and names of the classes:",
        "       2  wren taken for finch",
        "       1  finch taken for robin",
    ]
    right = measured(np.eye(3), np.arange(3), np.eye(3, dtype=int), ("finch", "robin", "wren"))
    assert text_of(right).endswith("1  wren")


@pytest.mark.filterwarnings("default:.*begun elsewhere:UserWarning")
def test_a_warning_is_a_line_without_its_source(planes, capsys) -> None:
    data, model = planes
    environment = model.parent / "environment.json"
    environment.write_text(json.dumps(json.loads(environment.read_text()) | {"python": "2.7"}))
    trained(data.parent, data, "--subset", "--level", "family", "--boxes", "--resume")
    (line,) = (x for x in capsys.readouterr().err.splitlines() if "differ" in x or ".py" in x)
    said = f"bilinear: warning: {model.parent} was begun elsewhere (python differ)"
    assert line.startswith(said)
