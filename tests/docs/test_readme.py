"""The examples of the README run and are short."""

import re
from pathlib import Path

import pytest

from bilinear import reference
from bilinear._require import BACKENDS

from ..subjects import PRESENT

README = (Path(__file__).parents[2] / "README.md").read_text()
EXAMPLES = re.findall(r"```python\n# (\w+)\n(.*?)```", README, re.DOTALL)


def namespace(code: str) -> str:
    return re.findall(r"from bilinear\.(\w+) import", code)[0]


def test_there_is_an_example_for_every_framework() -> None:
    assert {namespace(code) for _, code in EXAMPLES} == {*BACKENDS, "testing"}
    assert len(EXAMPLES) == README.count("```python")


@pytest.mark.parametrize(("title", "code"), EXAMPLES)
def test_examples_run(title: str, code: str, tmp_path: Path, monkeypatch) -> None:
    if namespace(code) in {*BACKENDS} - {*PRESENT}:
        pytest.skip(f"{title} is absent")
    lines = [line for line in code.splitlines() if line.strip()]
    assert len(lines) <= 6
    monkeypatch.chdir(tmp_path)
    exec(code, {})


def test_every_operator_has_a_row() -> None:
    for name in reference.__all__:
        if not name.endswith("_vjp"):
            assert f"(bilinear/reference/{name}.py)" in README
