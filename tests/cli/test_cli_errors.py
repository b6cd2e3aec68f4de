"""Errors, progress and exit codes of the command line."""

import contextlib
import json
import os
import sys
from pathlib import Path

import pytest

pytest.importorskip("typer", reason="the extra cli is absent")

from bilinear import __version__
from bilinear.analysis.descriptors import open_descriptors
from bilinear.cli import _console, app, run
from bilinear.cli._errors import Settings, one_line, run_guarded
from bilinear.data.images import Preprocessing
from bilinear.models.checkpoint import read_description, write

from .. import datasets
from ..models.test_checkpoint import describe, tiny
from ..subjects import PRESENT, driver, needs_a_framework

CLASSES = ("finch", "wren")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = driver(PRESENT[0])
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    network = made.model("resnet18", 2, taps=("layer1",), projection=4)
    made.save(network, path, classes=CLASSES, preprocessing=Preprocessing(16))
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two classes with two images each; one image is a text file."""
    datasets.photographs(tmp_path / "photos", finch=2, wren=2)
    (tmp_path / "photos" / "finch" / "1.jpg").write_text("no image")
    return tmp_path / "photos"


def test_every_command_is_listed(command) -> None:
    text = command("--help")
    for registered in app.registered_commands:
        assert registered.callback is not None
        assert registered.callback.__name__ in text
    assert command("--version") == f"bilinear {__version__}\n"


@pytest.mark.parametrize(
    "line",
    [
        "",
        "predict",
        "unknown",
        "info --no",
        "predict a b -k 0",
        "predict a b --workers 1025",
        "--no",
    ],
)
def test_invalid_usage_names_the_help_command(line: str, command) -> None:
    assert "--help` lists" in command(*line.split(), code=2)


@pytest.mark.filterwarnings("ignore:.*1 file is not used")
@pytest.mark.parametrize(
    "line", ["info FILE", "predict FILE a.jpg", "evaluate FILE .", "descriptors FILE a b.npy"]
)
def test_a_file_that_is_not_a_model_is_refused(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text").write_text("no model", encoding="utf-8")
    for split in ("train", "test"):
        datasets.photographs(tmp_path / split, wren=1)
    assert "complete safetensors" in command(*line.replace("FILE", "text").split(), code=2)
    assert "No such file" in command(*line.replace("FILE", "none").split(), code=2)


def test_info_prints_the_description(tmp_path: Path, command) -> None:
    path = tmp_path / "m.safetensors"
    write(path, describe(), tiny())
    found = json.loads(command("info", path, "--json"))
    description = read_description(path)
    assert found["classes"] == list(description.classes or ())
    assert found["pooling"] == dict(description.pooling)
    sizes = {name: array.size for name, array in tiny().items()}
    buffers = sizes["backbone.norm.running_mean"] + sizes["backbone.norm.num_batches_tracked"]
    assert found["parameters"]["total"] == sum(sizes.values()) - buffers
    assert found["other"] == {"backbone": buffers, "total": buffers}
    classifier = sum(k for name, k in sizes.items() if name.startswith("classifier."))
    assert found["parameters"]["classifier"] == classifier
    assert "descriptor size" in command("info", path)


def test_an_error_is_one_line_except_with_traceback(tmp_path: Path, command, capsys) -> None:
    path = tmp_path / "none.safetensors"
    message = f"bilinear: {path}: No such file or directory. Check the path and the disk."
    assert command("info", path, code=2) == message
    assert run(["--traceback", "info", str(path)]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_an_unexpected_error_has_its_own_exit_code(capsys) -> None:
    def fail() -> None:
        raise RuntimeError("out of\n memory")

    assert run_guarded(Settings(), fail) == 3
    message = capsys.readouterr().err
    assert message.startswith("bilinear: unexpected RuntimeError: out of memory (`bilinear --trace")
    assert one_line(OSError(28, "No space left")).startswith("a file: No space left. ")
    assert run_guarded(Settings(traceback=True), fail) == 3
    assert "Traceback" in capsys.readouterr().err


def test_progress_on_a_terminal_is_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    pty = pytest.importorskip("pty")  # POSIX only
    master, slave = pty.openpty()
    seconds = iter([0.0, 4.0, 10.0])
    with os.fdopen(slave, "w") as terminal, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", terminal)
        patch.setenv("TERM", "xterm")
        with _console.Progress(1000, clock=lambda: next(seconds)) as progress:
            progress.advance(400)
            print("b.jpg is broken", file=sys.stderr)
    shown = b""
    with contextlib.suppress(OSError):  # Linux raises it at the end
        while more := os.read(master, 100_000):
            shown += more
    os.close(master)
    text = shown.decode()
    for words in ("400/1000", "100.0/s", "0:00:06 left", "b.jpg is broken"):
        assert words in text


def test_progress_without_a_terminal_is_a_line_every_few_seconds(capsys) -> None:
    now = [0.0]
    with _console.Progress(1000, clock=lambda: now[0]) as progress:
        for _ in range(10):
            now[0] += 1
            progress.advance(100)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "500 of 1,000 images, 100.0/s, 0:00:05 left",
        "1,000 of 1,000 images, 100.0/s, 0:00:00 left",
        "1,000 of 1,000 images in 10.0 s",
    ]


@needs_a_framework
def test_unreadable_images_are_named_and_skipped(model, photos, command, capsys, tmp_path) -> None:
    """In every command for many images, which then exits with 1."""
    inputs = [str(photos), str(photos / "none.jpg"), str(photos / "*.gif"), str(tmp_path / "x/*")]
    assert run(["predict", str(model), *inputs, "--json", "--batch-size", "1"]) == 1
    captured = capsys.readouterr()
    done = [json.loads(line)["image"] for line in captured.out.splitlines()]
    assert done == [str(photos / name) for name in ("finch/0.jpg", "wren/0.jpg", "wren/1.jpg")]
    for name in (photos / "finch/1.jpg", *inputs[1:]):
        assert sum(str(name) in line for line in captured.err.splitlines()) == 1
    assert "7 of 7 images" in captured.err

    report = json.loads(command("evaluate", model, photos, "--json", code=1))
    assert (report["split"], report["images"], report["skipped"]) == ("all", 3, 1)
    assert [row["images"] for row in report["classes"]] == [1, 2]

    none = datasets.photographs(tmp_path / "none", finch=1, wren=1)
    for path in none.rglob("*.jpg"):
        path.write_text("no image")
    message = command("evaluate", model, none, code=2)
    assert "at least one image must be read" in message

    out = tmp_path / "f.safetensors"
    assert run(["descriptors", str(model), str(photos), str(out)]) == 1
    assert "f.safetensors: 4 descriptors of 16 float32" in capsys.readouterr().err
    descriptors, rows = open_descriptors(out)
    assert descriptors.shape == (3, 16)
    assert rows.labels == [0, 1, 1]
    broken = photos / "finch" / "1.jpg"
    before = sorted(os.listdir(tmp_path))
    message = command("descriptors", model, broken, tmp_path / "g.npy", code=2)
    assert "must have at least one row" in message
    assert "complete image" in command("retrieve", out, model, broken, code=2)
    assert sorted(os.listdir(tmp_path)) == before


@needs_a_framework
def test_mismatched_models_and_data_are_refused(model, photos, command, tmp_path) -> None:
    """Other models are written: without names of classes, without preprocessing, with scores."""
    made, other, out = driver(PRESENT[0]), tmp_path / "other.safetensors", tmp_path / "f.npy"
    evaluate = "evaluate", model, photos
    for message, *words in (
        ("the test split must have at least one image", *evaluate, "--split", "test"),
        ("split must be one of", *evaluate, "--split", "dev"),
        ("kind must be one of", *evaluate, "--kind", "birds"),
        ("--framework must be one of", "predict", model, photos, "--framework", "x"),
        ("must end in .npy or .safetensors", "descriptors", model, photos, "f.txt"),
    ):
        assert message in command(*words, code=2)
    (photos / "wren").rename(photos / "auk")
    message = "must have the classes of the data; got only in the data: auk. Rename the folders"
    assert message in command(*evaluate, code=2)
    network = made.load(model)
    network.classes = network.preprocessing = None
    made.save(network, other, preprocessing=Preprocessing(16))
    datasets.photographs(photos, tern=1)
    message = "2 in the model and 3 in the data"
    assert message in command("evaluate", other, photos, code=2)
    made.save(network, other)
    message = "must contain the preprocessing of images"
    assert message in command("predict", other, photos, code=2)
    command("descriptors", model, photos / "tern/0.jpg", out)
    message = command("retrieve", out, other, photos / "tern/0.jpg", code=2)
    assert f"descriptors of {model}" in message
    scores = made.model("resnet18", 2, taps=("layer1",), projection=4, pool="lrbp")
    made.save(scores, other, preprocessing=Preprocessing(16))
    message = "must have a descriptor and a linear classifier"
    assert message in command("descriptors", other, photos, tmp_path / "g.npy", code=2)


def test_an_interrupt_has_its_exit_code(capsys) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    assert run_guarded(Settings(), interrupted) == 130
    assert capsys.readouterr().err == "bilinear: interrupted\n"
