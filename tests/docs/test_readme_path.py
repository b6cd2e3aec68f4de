"""The README's section on training a classifier from a folder of images, in each framework.

Also the tutorial that trains a custom backbone on the same images. The commands run in this
process, as printed except that training is shortened.
"""

import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest

pytest.importorskip("typer")
pytest.importorskip("skimage")
pytest.importorskip("examples")

from bilinear.cli import run
from bilinear.models.checkpoint import read_description
from examples import texture_folder

from ..subjects import PRESENT

ROOT = Path(__file__).parents[2]
SECTION = (ROOT / "README.md").read_text().partition("## From a folder of images")[2]
INSTALL, MAKE, *PATH = re.findall(r"```sh\n(.*?)```", SECTION, re.DOTALL)[0].splitlines()
SHORT = ["images.size=32", 'model.taps=["layer1"]', "phases.0.epochs=1", "phases.1.epochs=1"]
ENDINGS = {"torch": ".pt", "tensorflow": ".keras", "jax": ".orbax"}


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files of a clone that the commands need, and the images."""
    folder = tmp_path_factory.mktemp("clone")
    shutil.copytree(ROOT / "examples", folder / "examples")
    _, _, module, *words = shlex.split(MAKE)
    assert module == texture_folder.__name__
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", [module, *words])
        texture_folder.main()
    return folder


def adapt(line: str, framework: str) -> str:
    """Adapt a line of the README to a framework and shorten training."""
    line = line.partition("#")[0].replace("torch", framework).replace(".pt", ENDINGS[framework])
    if line.startswith("bilinear train"):
        words = [word for change in SHORT for word in ("--set", change)]
        line = f"{line} {shlex.join(words)} --workers 0"
    return line.replace("out/run", f"out/{framework}")


def test_the_section_starts_with_installation_and_images(clone: Path) -> None:
    assert INSTALL.startswith("pip install -e '.[cli,torch]'")
    crops = list((clone / "out" / "textures").rglob("*.png"))
    assert len(crops) == len(texture_folder.read_list())
    names = [shlex.split(line)[1] for line in PATH]
    assert names == ["train", "evaluate", "predict", "explain", "convert"]


@pytest.mark.parametrize("framework", PRESENT)
def test_the_commands_run_as_printed(
    framework: str, clone: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(clone)
    printed = []
    for line in PATH:
        assert run(shlex.split(adapt(line, framework))[1:]) == 0, capsys.readouterr().err
        printed.append(capsys.readouterr().out)
    trained, evaluated, predicted, explained, _ = printed
    model = clone / trained.strip()
    assert read_description(model).classes == tuple(sorted(texture_folder.CLASSES))
    assert f"images{'':14}{8 * texture_folder.COUNTS['test']}\n" in evaluated
    assert len(predicted.splitlines()) == texture_folder.COUNTS["test"]
    assert "written: " in explained
    assert model.with_suffix(ENDINGS[framework]).exists()


@pytest.mark.skipif("torch" not in PRESENT, reason="the backbone is of torch")
def test_the_tutorial_of_a_custom_backbone_runs(
    clone: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    page = (ROOT / "docs" / "tutorials" / "custom_backbone.md").read_text(encoding="utf-8")
    assert MAKE in page
    (backbone, _), (opening, shown) = re.findall(
        r"^```python\n(.*?)^```(?:\n+```output\n(.*?)^```)?", page, re.MULTILINE | re.DOTALL
    )
    (clone / "my_networks.py").write_text(backbone, encoding="utf-8")
    monkeypatch.chdir(clone)
    monkeypatch.syspath_prepend(clone)  # as `python -m bilinear` does
    lines = re.findall(r"^python -m bilinear (.*)$", page, re.MULTILINE)
    assert [line.split()[0] for line in lines] == ["train", "evaluate", "predict"]
    lines[0] = lines[0].replace("out/textures", "out/textures/val")  # fewer crops
    lines[0] += " --workers 0 --set images.size=32 --set phases.1.epochs=1"
    for line in lines:
        assert run(shlex.split(line)) == 0, capsys.readouterr().err
    printed = capsys.readouterr().out.splitlines()
    assert len([line for line in printed if "test/moon/" in line]) == texture_folder.COUNTS["test"]
    exec(opening, {})
    assert capsys.readouterr().out == shown
