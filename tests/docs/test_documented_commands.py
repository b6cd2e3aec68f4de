"""Every ``bilinear`` command in the documents parses, and its recipe is valid."""

import re
import shlex
from pathlib import Path

import pytest

pytest.importorskip("typer", reason="the extra cli is absent")

import typer

from bilinear.cli import app, run
from bilinear.train import Recipe

ROOT = Path(__file__).parents[2]
FILES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
if not (ROOT / "docs").is_dir():
    pytest.skip("the documents are elsewhere", allow_module_level=True)


def commands(path: Path) -> list[list[str]]:
    """Arguments of all ``bilinear`` commands in sh blocks, and of inline ones with ``--set``.

    Other inline commands may be incomplete.
    """
    text = path.read_text(encoding="utf-8")
    lines = [
        line
        for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
        for line in block.splitlines()
    ]
    lines += [line for line in re.findall(r"`(bilinear [^`\n]+)`", text) if "--set" in line]
    words = [shlex.split(line.partition(" > ")[0], comments=True) for line in lines]
    return [line[1:] for line in words if line[:1] == ["bilinear"]]


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_documented_commands_parse(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(ROOT)
    known = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for name, *words in commands(path):
        known[name].make_context(name, list(words))
        if name == "train" and words[0] != "mine.json":  # written by the reader
            assert run(["train", *words, "--print"]) == 0
            Recipe.from_json(capsys.readouterr().out)


def test_there_are_commands_to_parse() -> None:
    found = commands(ROOT / "docs" / "reproduce.md")
    assert [name for name, *_ in found].count("train") == 5
    assert {words[2] for words in found if words[0] == "train"} >= {"CUB_200_2011", "stanford_cars"}
