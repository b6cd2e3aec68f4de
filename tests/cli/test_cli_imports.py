"""Custom backbones by import path: no module is imported without ``--allow-import``."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("typer", reason="the extra cli is absent")

from bilinear._files import file_checksum
from bilinear.analysis.descriptors import open_descriptors, write_descriptors
from bilinear.models import checkpoint
from bilinear.models.description import Custom
from bilinear.train import Group, Images, Model, Phase

from ..datasets import color_images, photographs
from ..models.test_checkpoint import describe, tiny
from ..own_backbones import CHANNELS
from ..subjects import PRESENT
from ..training import contents, recipe

NAME = "imported_by_a_file"
CODE = "from pathlib import Path\nPath(__file__).with_suffix('.ran').touch()\nrun = list\n"
needs_torch = pytest.mark.skipif("torch" not in PRESENT, reason="the file is of torch")


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that a module writes when it is imported, beside files that name this module."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, NAME, raising=False)
    Path("code").mkdir()
    Path("code", f"{NAME}.py").write_text(CODE, encoding="utf-8")
    photographs(Path("data"), **dict.fromkeys(describe().classes or (), 2))
    stream = Custom(f"{NAME}:run", "torch", 2)
    checkpoint.write("m.safetensors", describe(backbone=stream), tiny())
    rows = {"model": "m", "sha256": file_checksum("m.safetensors")}
    with write_descriptors("f.npy", 4, **rows) as writer:
        writer.append(np.ones((1, 4), np.float32), ["a.jpg"], [-1])
    model = Model(f"{NAME}:run", channels=2, weights=None)
    Path("mine.json").write_text(recipe(model=model).to_json(), encoding="utf-8")
    return Path("code", f"{NAME}.ran")


LINES = [
    "predict m.safetensors data",
    "evaluate m.safetensors data --split train",
    "descriptors m.safetensors data g.npy",
    "retrieve f.npy m.safetensors data/brick/0.jpg",
    "explain m.safetensors data/brick/0.jpg -o why.png",
    "info m.safetensors --framework torch",
    "train mine.json data run --workers 0 --framework torch",
]


@needs_torch
@pytest.mark.parametrize("line", LINES)
def test_nothing_is_imported_without_the_flag(
    line: str, ran: Path, command: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With it, the code runs, and is found in PYTHONPATH but not in the current folder."""
    words = line.split()
    monkeypatch.syspath_prepend("code")
    message = command(*words, code=2)
    assert "--allow-import" in message
    assert f"{NAME}:run" in message
    assert not ran.exists()
    assert NAME not in sys.modules
    message = command(*words, "--allow-import", code=2)
    assert f"{NAME}:run must return a torch.nn.Module for framework torch; got" in message
    assert ran.exists()


@needs_torch
def test_the_current_folder_is_not_searched(
    ran: Path, command: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("code")
    line = "predict ../m.safetensors ../data --allow-import"
    assert f"{NAME} must be importable; got No module named" in command(*line.split(), code=2)
    assert not Path(ran.name).exists()


def test_commands_that_need_no_module_import_none(ran: Path, command: Callable[..., str]) -> None:
    assert f"{NAME}:run" in command("info", "m.safetensors")
    words = ["--set", f"model.backbone={NAME}:run", "--set", "model.channels=2", "--print"]
    assert f"{NAME}:run" in command("train", "mine.json", *words)
    assert NAME not in sys.modules


@needs_torch
def test_a_recipe_is_chosen_for_another_backbone(ran: Path, command: Callable[..., str]) -> None:
    """It is used as a whole, and no weights are looked for where none are known."""
    words = ["--set", f"model.backbone={NAME}:run", "--set", "model.channels=2", "--print"]
    model = json.loads(command("train", "data", "run", *words))["model"]
    assert (model["taps"], model["weights"]) == (None, None)
    words = ["--set", "model.backbone=vgg16", "--set", "model.weights=vgg16.pth", "--print"]
    model = json.loads(command("train", "data", "run", *words))["model"]
    assert (model["taps"], model["weights"]) == (None, "vgg16.pth")
    assert NAME not in sys.modules


LATER = [pytest.param(name, marks=pytest.mark.full) for name in PRESENT[1:]]


@pytest.mark.parametrize("backend", [*PRESENT[:1], *LATER])
def test_a_custom_backbone_is_trained_and_opened(
    backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Callable[..., str]
) -> None:
    """In the framework of the file, without --framework."""
    monkeypatch.chdir(tmp_path)
    color_images(tmp_path / "data")
    phases = Phase("head", (Group("head", 0.5),), 2), Phase("all", (Group("all", 0.05),), 1)
    made = recipe(images=Images(16, 18), phases=phases)
    Path("mine.json").write_text(made.to_json(), encoding="utf-8")
    name = f"tests.own_backbones:{backend}"
    changes = f"backbone={name}", f"channels={CHANNELS}", "taps=null", "dtype=float32"
    line = ["train", "mine.json", "data", "run", "--framework", backend, "--workers", "0"]
    line += [word for change in changes for word in ("--set", f"model.{change}")]
    assert "--allow-import" in command(*line, code=2)
    assert "feature cache needs named" in command(*line, "--cache", "maps", code=2)
    file = command(*line, "--allow-import").strip()
    before = contents(Path("run"))
    assert "--allow-import" in command("train", "run", "--resume", code=2)
    command("train", "run", "--resume", "--allow-import")
    assert contents(Path("run")) == before
    stream = json.loads(command("info", file, "--json"))["backbone"]
    assert stream == {"name": name, "framework": backend, "channels": CHANNELS}
    allowed = file, "data", "--allow-import"
    report = json.loads(command("evaluate", *allowed, "--split", "all", "--json"))
    assert (report["images"], report["framework"].split()[0]) == (18, backend)
    assert len(command("predict", *allowed).splitlines()) == 18
    command("descriptors", *allowed, "f.npy")
    assert open_descriptors("f.npy")[0].shape == (18, 36)
    command("explain", file, "data/red/0.jpg", "-o", "why.png", "--allow-import")
