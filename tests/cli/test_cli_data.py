"""The images that a command reads from a data set: splits, boxes, levels and banners."""

import glob
import json
from pathlib import Path
from shutil import rmtree

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("typer", reason="the extra cli is absent")

from bilinear.analysis.descriptors import open_descriptors
from bilinear.cli import run
from bilinear.cli._images import find_images
from bilinear.cli.evaluate import compute_report, format_report, most_confused
from bilinear.data import open_dataset
from bilinear.data.images import Preprocessing
from bilinear.train import Group, Images, Phase

from ..agreement import relative_error
from ..datasets import BANNER, aircraft, color_images, shards
from ..subjects import PRESENT, driver
from ..tolerances import LOGITS
from ..training import recipe

if not PRESENT:
    pytest.skip("no framework", allow_module_level=True)

PHASES = (Phase("head", (Group("head", 0.125),), 1),)


def train_model(folder: Path, data: Path, *options: object) -> Path:
    """Train a short run on a data set and return its best model."""
    (folder / "mine.json").write_text(recipe(images=Images(32, 36), phases=PHASES).to_json())
    words = ["train", folder / "mine.json", data, folder / "run", "--workers", 0, *options]
    assert run([str(word) for word in words]) == 0
    return folder / "run" / "best.safetensors"


def test_shards_are_trained_and_evaluated_as_an_image_folder(
    tmp_path: Path, command, capsys
) -> None:
    """The run gives the same model, bit for bit, and the commands the same results."""
    data = color_images(tmp_path / "pictures")
    places = {"folder": data, "shards": shards(tmp_path / "shards", open_dataset(data), 5)}
    models, reports, rows = [], [], []
    for name, place in places.items():
        (folder := tmp_path / f"of {name}").mkdir()
        models.append(train_model(folder, place, "--fraction", 0.34))
        capsys.readouterr()
        report = json.loads(command("evaluate", models[0], place, "--json", "--split", "all"))
        reports.append(report | {"data": ""})
        command("descriptors", models[0], place, tmp_path / f"{name}.npy")
        rows.append(open_descriptors(tmp_path / f"{name}.npy"))
    assert models[0].read_bytes() == models[1].read_bytes()
    assert reports[0] == reports[1]
    assert reports[0]["images"] == 18
    np.testing.assert_array_equal(*(array for array, _ in rows))
    assert rows[0][1].labels == rows[1][1].labels
    assert rows[1][1].paths[0] == str(places["shards"] / "birds-train-000000.tar/blue/0.jpg")
    (checksums, *others) = (
        json.loads((model.parent / "images.json").read_text()) for model in models
    )
    assert [*checksums.values()] == [*others[0].values()]


def test_the_validation_split_of_a_run_is_evaluated(tmp_path: Path, command, capsys) -> None:
    """With the given fraction and seed, else those of the run, else the defaults."""
    data = color_images(tmp_path / "pictures")
    model = train_model(tmp_path, data, "--fraction", 0.34, "--set", "seed=3")
    capsys.readouterr()
    record = tmp_path / "run" / "data.json"
    assert json.loads(record.read_text()) == {"fraction": 0.34, "seed": 3}
    validation = "evaluate", model, data, "--json", "--split", "validation"
    (*_, epoch) = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    report = json.loads(command(*validation))
    assert (report["images"], report["fraction"], report["seed"]) == (6, 0.34, 3)
    loss = np.array(json.loads(epoch)["validation_loss"])
    assert relative_error(np.array(report["loss"]), loss) <= LOGITS["float64"]
    phase = tmp_path / "run" / "phases" / "1-head.safetensors"
    assert json.loads(command("evaluate", phase, *validation[2:]))["loss"] == report["loss"]
    other = json.loads(command(*validation, "--seed", 0))
    assert (other["fraction"], other["loss"] == report["loss"]) == (0.34, False)

    default = json.loads(command("evaluate", model, data, "--json"))
    assert (default["split"], default["loss"]) == ("validation", report["loss"])
    assert json.loads(command("evaluate", model, data, "--json", "--split", "all"))["images"] == 18

    out, found = tmp_path / "f.npy", {}
    for split in "validation", "train":
        assert command("descriptors", model, data, out, "--split", split) == ""
        found[split] = {*open_descriptors(out)[1].paths}
    assert (len(found["validation"]), len(found["train"])) == (6, 12)
    assert not found["validation"] & found["train"]
    training = json.loads(command(*validation[:-1], "train"))
    assert (training["images"], training["fraction"]) == (12, 0.34)

    for text in "{}", '{"fraction": "x", "seed": 0}', '{"fraction": 1%s, "seed": 0}' % (400 * "0"):
        record.write_text(text)
        assert "must contain the fraction and the seed of" in command(*validation, code=2)
    for text in "", "[" * 100_000, '{"fraction": Infinity, "seed": 0}':
        record.write_text(text)
        assert "data.json must be a JSON file" in command(*validation, code=2)
    record.unlink()
    report = json.loads(command(*validation))
    assert (report["images"], report["fraction"], report["seed"]) == (3, 0.1, 0)
    refusal = command("evaluate", model, data, "--split", "test", code=2)
    assert "Put test images into test/ beside train/, or use --split validation." in refusal
    refusal = command("evaluate", model, data, "--split", "all", "--seed", 0, code=2)
    assert "require --split validation or train; got --seed with --split all" in refusal
    assert "fraction must be between" in command(*validation, "--fraction", 1, code=2)


def test_classes_are_matched_by_name(tmp_path: Path, command, capsys) -> None:
    """In a folder with two of three classes, in another order of the labels."""
    made, path = driver(PRESENT[0]), tmp_path / "model.safetensors"
    network = made.model("resnet18", 3, taps=("layer1",), projection=4)
    bias = np.array([0, 9, 0], np.float32)
    made.assign(network, {"classifier.bias": bias})  # always the second class
    about = {"classes": ("red", "blue", "green"), "preprocessing": Preprocessing(16)}
    made.save(network, path, **about)
    data = color_images(tmp_path / "data")
    rmtree(data / "green")
    (data / "red" / "0.jpg").unlink()
    assert run(["evaluate", str(path), str(data), "--json"]) == 0
    printed = capsys.readouterr()
    assert "\n2 of 3 classes of the model are in the data" in printed.err
    assert "data has no test split: all images\n" in printed.err
    report = json.loads(printed.out)
    assert (report["data_classes"], report["model_classes"]) == (2, 3)
    assert report["confusion"] == [[0, 5, 0], [0, 6, 0], [0, 0, 0]]
    rows = [(row["class"], row["images"], row["accuracy"]) for row in report["classes"]]
    assert rows == [("red", 5, 0), ("blue", 6, 1), ("green", 0, None)]
    assert "green" not in command("evaluate", path, data)


@pytest.fixture(scope="module")
def planes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Aircraft images of two families with boxes, and a model trained on them."""
    folder = tmp_path_factory.mktemp("planes")
    data = aircraft(folder / "planes")
    return data, train_model(folder, data, "--subset", "--level", "family", "--boxes")


def test_boxes_and_levels_reach_the_images(planes, tmp_path: Path, command) -> None:
    data, model = planes
    whole, boxed, crops = (tmp_path / f"{name}.npy" for name in ("whole", "boxed", "crops"))
    subset = "--subset", "--level", "family"
    command("descriptors", model, data, whole, *subset)
    command("descriptors", model, data, boxed, *subset, "--boxes")
    for item in open_dataset(data, check_counts=False).items:
        path = data / "data" / item.path
        Image.open(path).crop((10, 5, 50, 35)).save(tmp_path / f"{path.stem}.png")
    command("descriptors", model, tmp_path / "*.png", crops)
    (first, _), (second, rows), (third, _) = map(open_descriptors, (whole, boxed, crops))
    assert rows.classes == ["A300", "F/A-18"]
    np.testing.assert_array_equal(second, third)
    assert (np.abs(first - second).max(1) > 0).all()

    evaluate = "evaluate", model, data, "--subset"
    assert "images              2\n" in command(*evaluate, "--level", "family", "--boxes")
    assert "the model must have the classes of the data" in command(*evaluate, code=2)


def test_unsupported_options_are_refused(planes, tmp_path: Path, command) -> None:
    _, model = planes
    data = color_images(tmp_path / "pictures")
    for words in (
        ("train", "multi-phase", data, tmp_path / "run"),
        ("evaluate", model, data),
        ("descriptors", model, data, tmp_path / "f.npy"),
    ):
        start = "options of folder must be check_counts; got "
        assert f"{start}boxes. Leave" in command(*words, "--boxes", code=2)
        assert f"{start}level. Leave" in command(*words, "--level", "family", code=2)
    images = "descriptors", model, data / "red", tmp_path / "f.npy"
    message = "require the folder of a data set; got images"
    assert message in command(*images, "--boxes", code=2)
    assert not (tmp_path / "run").exists()


def test_banners_of_single_images_are_cut_off(planes, tmp_path: Path, command) -> None:
    """As in training. With its banner, an image differs from its own descriptor."""
    data, model = planes
    image, out = data / "data" / "images" / "0000004.jpg", tmp_path / "planes.npy"
    command("descriptors", model, data, out, "--subset")
    retrieve = "retrieve", out, model, image, "-k", 1, "--json"
    found = json.loads(command(*retrieve, "--banner", BANNER))
    assert found["image"] == str(image)
    assert abs(found["similarity"] - 1) <= LOGITS["float32"]
    assert json.loads(command(*retrieve))["similarity"] < 1 - LOGITS["float32"]

    whole = Image.open(image)
    whole.crop((0, 0, whole.width, whole.height - BANNER)).save(tmp_path / "cut.png")
    predict = "predict", model, image, "--json"
    explain = "explain", model, image, "-o", tmp_path / "why.png", "--json"
    for words in predict, explain:
        arguments = (tmp_path / "cut.png" if word == image else word for word in words)
        same = command(*arguments).replace(f"{tmp_path / 'cut.png'}", f"{image}")
        assert command(*words, "--banner", BANNER) == same != command(*words)
    assert "above its banner" in command(*retrieve, "--banner", 99, code=2)


def test_the_most_confused_classes_are_listed() -> None:
    """One of three finches is predicted as robin, two of four wrens as finch."""
    labels, predicted = np.array([0, 0, 0, 1, 2, 2, 2, 2]), [0, 0, 1, 1, 0, 0, 2, 2]
    confusion = np.array([[2, 1, 0], [0, 1, 0], [2, 0, 2]])
    assert most_confused(confusion) == [(2, 0, 2), (0, 1, 1)]
    assert most_confused(confusion, 1) == [(2, 0, 2)]
    report = compute_report(np.eye(3)[predicted], labels, ("finch", "robin", "wren"))
    assert format_report(report).splitlines()[-3:] == [
        "most confused pairs of classes, with the number of images:",
        "       2  wren predicted as finch",
        "       1  finch predicted as robin",
    ]
    perfect = compute_report(np.eye(3), np.arange(3), ("finch", "robin", "wren"))
    assert format_report(perfect).endswith("1  wren")
    assert "top1                62.5%\n" in format_report(report)
    assert "   66.7%       3  finch\n" in format_report(report)


@pytest.mark.filterwarnings("default:.*started elsewhere:UserWarning")
def test_a_warning_is_one_line_without_source_location(planes, capsys) -> None:
    data, model = planes
    environment = model.parent / "environment.json"
    environment.write_text(json.dumps(json.loads(environment.read_text()) | {"python": "2.7"}))
    train_model(data.parent, data, "--subset", "--level", "family", "--boxes", "--resume")
    (line,) = (x for x in capsys.readouterr().err.splitlines() if "elsewhere" in x or ".py" in x)
    start = f"bilinear: warning: {model.parent} was started elsewhere (python: '2.7', now "
    assert line.startswith(start)


@pytest.mark.parametrize(
    "words", [("predict", "FILE", ""), ("evaluate", "FILE", ""), ("train", "bcnn", "", "run")]
)
def test_an_empty_argument_is_not_the_current_folder(command, words) -> None:
    assert "an argument must not be empty" in command(*words, code=2)


def test_images_of_a_folder_are_listed_once_and_others_are_counted(tmp_path: Path) -> None:
    """Links to the folder itself would repeat every image."""
    for name in ("a.jpg", "b.gif"):
        Image.new("RGB", (8, 6)).save(tmp_path / name)
    for name in ("c.heic", "notes.txt"):
        (tmp_path / name).touch()
    for name in ("me", "again"):
        (tmp_path / name).symlink_to(".")
    with pytest.warns(UserWarning, match=r"2 files are not used: 1 \.heic, 1 \.txt"):
        found = find_images([str(tmp_path)])
    assert [Path(item.path).name for item in found.items] == ["a.jpg", "b.gif"]


@pytest.mark.parametrize("pattern", ["**/*.jpg", "**", "a/**/*.jpg", "*/**/**/[12].jpg", "**/b/*"])
def test_patterns_follow_links_once(tmp_path: Path, monkeypatch, pattern: str) -> None:
    """Python's glob would visit two links to their own folder 2^40 times."""
    for name in ("a/1.jpg", "a/b/2.jpg", "c[1]/b/1.jpg", ".hidden/1.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    places = {"": pattern, f"{tmp_path}/": f"{glob.escape(str(tmp_path))}/{pattern}"}
    expected = {path for path in glob.glob(pattern, recursive=True) if Path(path).is_file()}
    for name in ("a/me", "a/again", "a/b/up"):
        (tmp_path / name).symlink_to("..")
    for start, words in places.items():
        found = [item.path for item in find_images([words]).items]
        assert found == sorted(f"{start}{path}" for path in expected)


def test_the_number_of_pixels_is_an_option_of_every_command(planes, tmp_path: Path, command):
    _, model = planes
    image = tmp_path / "a.png"
    Image.new("RGB", (60, 40)).save(image)
    assert command("--max-pixels", 60 * 40 - 1, "predict", model, image, code=1) == ""
    assert command("--max-pixels", 60 * 40, "predict", model, image)
    assert command("predict", model, image)
