"""The code of each tutorial runs, block after block, and prints the output shown."""

import contextlib
import importlib.util
import io
import re
from pathlib import Path

import pytest

from bilinear._require import BACKENDS

from ..subjects import PRESENT

PAGES = sorted((Path(__file__).parents[2] / "docs" / "tutorials").glob("*.md"))
BLOCK = re.compile(r"^```python\n(.*?)^```(?:\n+```output\n(.*?)^```)?", re.MULTILINE | re.DOTALL)
IMPORT = re.compile(r"^(?:import|from) (\w+)(?:\.(\w+)| import (\w+))?", re.MULTILINE)
if not PAGES:
    pytest.skip("the documents are elsewhere", allow_module_level=True)
CODE = {page.stem: BLOCK.findall(page.read_text(encoding="utf-8")) for page in PAGES}


def test_every_page_of_code_is_found() -> None:
    fences = {page.stem: page.read_text(encoding="utf-8").count("```python") for page in PAGES}
    assert {name: len(blocks) for name, blocks in CODE.items()} == fences
    used = {name for blocks in CODE.values() for name in namespaces(blocks)}
    assert used == {*BACKENDS}


def namespaces(blocks: list[tuple[str, str]]) -> set[str]:
    """The namespaces of `bilinear` that the blocks import."""
    found = {word for code, _ in blocks for match in IMPORT.findall(code) for word in match[1:]}
    return found & {*BACKENDS}


@pytest.mark.parametrize("name", [name for name, blocks in CODE.items() if blocks])
def test_the_code_prints_the_output_shown(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if absent := namespaces(CODE[name]) - {*PRESENT}:
        pytest.skip(f"needs {', '.join(absent)}")
    packages = {match[0] for code, _ in CODE[name] for match in IMPORT.findall(code)}
    if absent := {package for package in packages if not importlib.util.find_spec(package)}:
        pytest.skip(f"needs {', '.join(absent)}")
    monkeypatch.chdir(tmp_path)
    variables: dict[str, object] = {"__name__": "tutorial"}
    for code, expected in CODE[name]:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code, variables)
        assert printed.getvalue() == expected
