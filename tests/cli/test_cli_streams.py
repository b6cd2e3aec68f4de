"""Output of commands: escaped names, valid JSON and finite results."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("typer", reason="the extra cli is absent")

from bilinear.cli import run
from bilinear.data.images import Preprocessing

from .. import datasets
from ..subjects import PRESENT, driver, needs_a_framework
from ..training import recipe

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="names of files are bytes")
HOSTILE = "auk\x1b[2J\nbob.jpg  wren 1.000", "coot\x9b1m\u202e\r", "dove\x7f"
"""Names that clear the screen, forge a line of `predict`, and reverse text."""


def save_model(path: Path, weight: float | None = None, projection: float | None = None) -> Path:
    """Save a model of the hostile classes, with these weights if they are given."""
    made = driver(PRESENT[0])
    model = made.model("resnet18", len(HOSTILE), taps=("layer1",), projection=4)
    values = {
        "classifier.weight": (len(HOSTILE), 16, weight),
        "projection.weight": (4, 64, projection),
    }
    for name, (rows, columns, value) in values.items():
        if value is not None:
            made.assign(model, {name: np.full((rows, columns), value, np.float32)})
    made.save(model, path, classes=HOSTILE, preprocessing=Preprocessing(16))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, a data set of its classes, and an image that cannot be read."""
    root = tmp_path_factory.mktemp("hostile")
    for k, name in enumerate(HOSTILE):
        datasets.jpeg(root / "data" / name / f"{k}.jpg", k)
    (root / "bad").mkdir()
    (root / "bad" / f"{HOSTILE[0]}.jpg").write_text("no image")
    save_model(root / "m.safetensors")
    return root


@on_linux
@needs_a_framework
@pytest.mark.parametrize(
    ("line", "lines", "code"),
    [
        ("predict m.safetensors data", 3, 0),
        ("predict m.safetensors data bad", 3, 1),
        ("evaluate m.safetensors data --split train", None, 0),
        ("descriptors m.safetensors data f.npy", 0, 0),
        ("retrieve f.npy m.safetensors data/HOSTILE/0.jpg", 3, 0),
        ("explain m.safetensors data/HOSTILE/0.jpg -o why.png --pairs 0", 3, 0),
        ("explain m.safetensors data/HOSTILE/0.jpg -o HOSTILE --pairs 0", 3, 0),
        ("explain m.safetensors data/HOSTILE/0.jpg -o why.png --class HOSTILE_", 0, 2),
        ("info m.safetensors", None, 0),
        ("info HOSTILE", 0, 2),
        ("--traceback info HOSTILE", 0, 2),
        ("train HOSTILE data run", 0, 2),
        ("HOSTILE", 0, 2),
    ],
)
def test_names_are_escaped_on_a_terminal(
    line: str,
    lines: int | None,
    code: int,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.chdir(folder)
    if line.startswith("retrieve") and not Path("f.npy").exists():
        assert run(["descriptors", "m.safetensors", "data", "f.npy"]) == 0
        capsys.readouterr()
    words = [word.replace("HOSTILE", HOSTILE[0]) for word in line.split()]
    assert run(words) == code
    captured = capsys.readouterr()
    for text in captured.out, captured.err:
        assert all(part.isprintable() for part in text.split("\n"))
    if lines is not None:
        assert captured.out.count("\n") == lines
    if "f.npy" not in words[-1]:
        assert "\\x" in captured.out + captured.err


@on_linux
@needs_a_framework
@pytest.mark.parametrize(
    "line",
    [
        "predict m.safetensors data --json",
        "evaluate m.safetensors data --split train --json --out report",
        "retrieve f.npy m.safetensors data/HOSTILE/0.jpg --json",
        "explain m.safetensors data/HOSTILE/0.jpg -o why.png --json",
        "info m.safetensors --json",
    ],
)
def test_json_is_ascii_and_has_the_names_unchanged(
    line: str, folder: Path, monkeypatch: pytest.MonkeyPatch, command: Callable[..., str]
) -> None:
    monkeypatch.chdir(folder)
    if line.startswith("retrieve") and not Path("f.npy").exists():
        command(*["descriptors", "m.safetensors", "data", "f.npy"])
    out = command(*(word.replace("HOSTILE", HOSTILE[0]) for word in line.split()))
    assert all(part.isprintable() and part.isascii() for part in out.split("\n"))
    values = [json.loads(part) for part in out.splitlines()]
    assert any(name in f"{values!r}" for name in map(repr, HOSTILE))
    if "--out" in line:
        table = Path("report", "confusion.csv").read_bytes()
        assert table.splitlines()[-1].startswith(os.fsencode(HOSTILE[2]))


@needs_a_framework
@pytest.mark.parametrize(
    ("line", "weights"),
    [
        ("predict m.safetensors 0.jpg --json", {"weight": 3e38}),
        ("evaluate m.safetensors data --split train --json", {"weight": 3e38}),
        ("explain m.safetensors 0.jpg -o out.npy --json", {"weight": 3e38}),
        ("descriptors m.safetensors 0.jpg out.npy", {"projection": 3e38}),
    ],
)
def test_results_that_are_not_finite_are_refused(
    line: str,
    weights: dict[str, float],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: Callable[..., str],
) -> None:
    monkeypatch.chdir(tmp_path)
    save_model(tmp_path / "m.safetensors", **weights)
    datasets.jpeg(tmp_path / "0.jpg")
    for name in HOSTILE if line.startswith("evaluate") else ():
        datasets.jpeg(tmp_path / "data" / name / "0.jpg")
    before = sorted(os.listdir())
    with np.errstate(all="ignore"):
        message = command(*line.split(), code=2)
    assert "m.safetensors: the results must be finite; got NaN or an infinity" in message
    assert sorted(os.listdir()) == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff", "mine.json: 'utf-8' codec can't decode"),
        (b"{}", "mine.json: Recipe: format must be 'bilinear-recipe'"),
        (b"{" * 100_000, "mine.json: Recipe: a recipe must be JSON"),
        (None, "mine.json: the path must name a regular file; got a FIFO"),
    ],
)
def test_a_recipe_file_is_named(
    content: bytes | None, message: str, tmp_path: Path, command: Callable[..., str]
) -> None:
    path = tmp_path / "mine.json"
    if content is not None:
        path.write_bytes(content)
    elif hasattr(os, "mkfifo"):
        os.mkfifo(path)
    else:
        pytest.skip("no FIFOs")
    assert message in command("train", path, "--print", code=2)


def test_a_printed_recipe_is_ascii(tmp_path: Path, command: Callable[..., str]) -> None:
    path = tmp_path / "mine.json"
    path.write_text(recipe(name="ü\x9b1m\x7f").to_json())
    text = command("train", path, "--print")
    assert text.isascii()
    assert json.loads(text)["name"] == "ü\x9b1m\x7f"
