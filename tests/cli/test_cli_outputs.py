"""An output of a command never replaces one of its inputs."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("typer", reason="the extra cli is absent")

from bilinear.models.checkpoint import write

from ..datasets import photographs
from ..models.test_checkpoint import describe, tiny
from ..subjects import needs_a_framework
from ..training import recipe


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[Path, bytes]:
    """The inputs of the commands in the current folder, under several names."""
    monkeypatch.chdir(tmp_path)
    write("m.safetensors", describe(), tiny())
    photographs(Path("data"), finch=2, wren=2)
    for folder in "out", "run/phases":
        Path(folder).mkdir(parents=True)
    Path("recipe.json").write_text(recipe().to_json(), encoding="utf-8")
    for name, source in (
        ("out/metrics.json", "m.safetensors"),
        ("run/environment.json", "recipe.json"),
        ("run/data.json", "recipe.json"),
        ("run/best.safetensors", "m.safetensors"),
        ("run/phases/1-head.safetensors", "m.safetensors"),
        ("data/wren/curves.png", "data/wren/0.jpg"),
        ("f.npy.json", "data/wren/0.jpg"),
    ):
        Path(name).write_bytes(Path(source).read_bytes())
    Path("symbolic.safetensors").symlink_to("m.safetensors")
    os.link("m.safetensors", "hard.pt")
    return {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


SAME = "--from torch --to portable"


@pytest.mark.skipif(os.name == "nt", reason="links need rights")
@pytest.mark.parametrize(
    "line",
    [
        "descriptors m.safetensors data m.safetensors",
        "descriptors m.safetensors data symbolic.safetensors",
        "descriptors symbolic.safetensors data/wren/0.jpg ./data/../m.safetensors",
        "descriptors m.safetensors f.npy.json f.npy",
        "explain m.safetensors data/wren/0.jpg -o data/wren/0.jpg",
        "explain m.safetensors data/wren/0.jpg -o m.safetensors",
        "evaluate out/metrics.json data --split train --out out",
        "convert m.safetensors hard.pt",
        "export m.safetensors hard.pt",
        "export m.safetensors data/wren/0.jpg --image data/wren/0.jpg",
        "convert hard.pt m.safetensors --like m.safetensors",
        f"convert hard.pt hard.pt --like recipe.json {SAME}",
        pytest.param("train run/environment.json data run", marks=needs_a_framework),
        pytest.param("train run/data.json data run", marks=needs_a_framework),
        pytest.param("train recipe.json data data/wren", marks=needs_a_framework),
        *(
            pytest.param(f"train recipe.json data run --set {change}", marks=needs_a_framework)
            for change in (
                "model.weights=run/best.safetensors",
                "model.weights=run/phases/1-head.safetensors",
            )
        ),
    ],
)
def test_an_output_never_replaces_an_input(
    line: str, files: dict[Path, bytes], command: Callable[..., str]
) -> None:
    assert "an output must not replace an input; got the input" in command(*line.split(), code=2)
    assert {path: path.read_bytes() for path in files} == files
