"""Every command in the documents parses or exists; those of docs/cli.md run."""

import importlib
import importlib.util
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("typer", reason="the extra cli is absent")

import typer

from bilinear.cli import app, run
from bilinear.data import open_dataset
from bilinear.data.images import Preprocessing
from bilinear.train import NAMED_RECIPES, Recipe

from .. import datasets
from ..subjects import PRESENT, driver, needs_a_framework

ROOT = Path(__file__).parents[2]
HAS_SKLEARN = importlib.util.find_spec("sklearn") is not None
FILES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
if not (ROOT / "docs").is_dir():
    pytest.skip("the documents are elsewhere", allow_module_level=True)


def lines(path: Path) -> Iterator[list[str]]:
    """Yield the words of all commands in sh blocks, and of some inline ones.

    Other inline commands may be incomplete.
    """
    text = path.read_text(encoding="utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    inline = re.findall(r"`(nox -s [^`\n]+|bilinear [^`\n]*--set[^`\n]+)`", text)
    for line in [*"".join(blocks).splitlines(), *inline]:
        for command in line.partition(" > ")[0].split(" && "):
            yield shlex.split(command, comments=True)


def commands(path: Path) -> list[list[str]]:
    """Arguments of all ``bilinear`` commands, also of those that torchrun starts."""
    found = [words for words in lines(path) if words[:1] in (["bilinear"], ["torchrun"])]
    return [words[words.index("bilinear") + 1 :] for words in found]


@pytest.mark.parametrize("path", [path for path in FILES if commands(path)], ids=lambda p: p.stem)
def test_documented_commands_parse(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(ROOT)
    known = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for name, *words in commands(path):
        known[name].make_context(name, list(words))
        # others need a data set or a file that the reader wrote
        if name == "train" and (words[0] in NAMED_RECIPES or Path(words[0]).is_file()):
            assert run(["train", *words, "--print"]) == 0
            Recipe.from_json(capsys.readouterr().out)


def test_every_other_command_exists() -> None:
    """The sessions of nox, the modules with their options, and the extras."""
    sessions = {*re.findall(r"^def (\w+)\(session", (ROOT / "noxfile.py").read_text(), re.M)}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for path in FILES:
        for words in lines(path):
            match [word for word in words if word != "HYPOTHESIS_PROFILE=thorough"]:
                case ["bilinear" | "tensorboard", *_] | [] | ["nox"] | ["nox", "-s"]:
                    pass
                case ["torchrun", _, "-m", "bilinear", *_]:
                    pass
                case ["nox", "-s", name, *_]:
                    assert name in sessions
                case ["python", "-m", "pip", "install", *names] | ["pip", "install", *names]:
                    extras = {e for n in names for e in re.findall(r"[\w]+", n.partition("[")[2])}
                    assert extras <= {*project["optional-dependencies"]}
                case ["python", "-m", name, *options]:
                    assert importlib.util.find_spec(name)
                    if name in ("benchmarks", "benchmarks.accelerator"):
                        importlib.import_module(f"{name}.__main__").parser().parse_args(options)
                case _:
                    pytest.fail(f"{path.name}: {shlex.join(words)} is not checked")


def test_the_printed_costs_are_those_of_the_page(capsys: pytest.CaptureFixture) -> None:
    page = (ROOT / "docs" / "choosing.md").read_text(encoding="utf-8")
    shown = re.findall(r"```sh\nbilinear (.*?)\n```\n\n```output\n(.*?)```", page, re.DOTALL)
    assert len(shown) == page.count("```sh") == 3
    for words, output in shown:
        assert run(shlex.split(words)) == 0
        assert capsys.readouterr().out == output


@needs_a_framework
def test_the_commands_of_the_cli_page_run_as_printed(tmp_path, monkeypatch, capsys) -> None:
    """On a subset of the data set, with --subset. Training would download weights."""
    monkeypatch.chdir(tmp_path)
    birds = datasets.cub(tmp_path / "CUB_200_2011")
    classes = open_dataset(birds, check_counts=False).classes
    made, page = driver(PRESENT[0]), ROOT / "docs" / "cli.md"
    network = made.model("resnet18", 2, taps=("layer1",), projection=4)
    about = {"classes": classes, "preprocessing": Preprocessing(16)}
    made.save(network, tmp_path / "birds.safetensors", **about)
    for name in ("photo.jpg", "folder/a.jpg", "more/b/c.png"):
        datasets.jpeg(tmp_path / name)
    for name, *words in commands(page):
        if name != "train" and (HAS_SKLEARN or "svm.safetensors" not in words):
            subset = ["--subset"] if birds.name in words else []
            assert run([name, *words, *subset]) == 0
            assert (capsys.readouterr().out == "") == (name == "descriptors")
    assert len(list(Path("report").iterdir())) == 2
    text = page.read_text(encoding="utf-8")
    exec(text.partition("```python\n")[2].partition("```")[0], {})
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("Black_footed_Albatross_1", "Laysan_Albatross_1"))
    names = {command.callback.__name__ for command in app.registered_commands if command.callback}
    on_other_pages = {"convert", "export", "reduction"}
    assert {name for name, *_ in commands(page)} == names - on_other_pages
    assert all(f"| `{name} " in text for name in names)
