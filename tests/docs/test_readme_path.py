"""The README's section on training a classifier from a folder of images, in each framework.

The commands run as printed, except that training is shortened. With the first framework, every
command is a new process, as in a shell. With the others they run in this process, which is faster.
"""
# ruff: noqa: E402 (missing packages are found first)

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = ("typer", "skimage", "examples")
missing = [name for name in MODULES if importlib.util.find_spec(name) is None]
if missing:
    pytest.skip(f"the path needs {', '.join(missing)}", allow_module_level=True)

from bilinear.cli import run
from bilinear.models.checkpoint import read_description
from examples import texture_folder

from ..subjects import PRESENT

SECTION = (ROOT / "README.md").read_text().partition("## From a folder of images")[2]
INSTALL, MAKE, *PATH = re.findall(r"```sh\n(.*?)```", SECTION, re.DOTALL)[0].splitlines()
SHORT = ["images.size=32", 'model.taps=["layer1"]', "phases.0.epochs=1", "phases.1.epochs=1"]
ENDINGS = {"torch": ".pt", "tensorflow": ".keras", "jax": ".orbax"}


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files of a clone that the commands need, and the images."""
    folder = tmp_path_factory.mktemp("clone")
    shutil.copytree(ROOT / "examples", folder / "examples")
    in_shell(MAKE, folder)
    return folder


def in_shell(line: str, folder: Path) -> str:
    """Run a line of the README with the Python of the tests; return its output."""
    program, *words = shlex.split(line, comments=True)
    command = {"python": [sys.executable], "bilinear": [sys.executable, "-m", "bilinear"]}[program]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [*command, *words],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


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
    for line in (adapt(line, framework) for line in PATH):
        if framework == PRESENT[0]:
            printed.append(in_shell(line, clone))
        else:
            assert run(shlex.split(line)[1:]) == 0, capsys.readouterr().err
            printed.append(capsys.readouterr().out)
    trained, evaluated, predicted, explained, _ = printed
    model = clone / trained.strip()
    assert read_description(model).classes == tuple(sorted(texture_folder.CLASSES))
    assert f"images{'':14}{8 * texture_folder.COUNTS['test']}\n" in evaluated
    assert len(predicted.splitlines()) == texture_folder.COUNTS["test"]
    assert "written: " in explained
    assert model.with_suffix(ENDINGS[framework]).exists()
