"""The Python code of every page and of every docstring runs and prints the output shown."""

import contextlib
import doctest
import importlib.util
import io
import re
from pathlib import Path

import pytest

import bilinear
from bilinear._require import BACKENDS
from bilinear.data.images import Preprocessing

from ..subjects import PRESENT, driver

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```(?:\n+```output\n(.*?)^```)?", re.MULTILINE | re.DOTALL)
IMPORT = re.compile(r"^(?:import|from) (\w+)(?:\.(\w+)| import (\w+))?", re.MULTILINE)
if not (ROOT / "docs").is_dir():
    pytest.skip("the documents are elsewhere", allow_module_level=True)

LANGUAGES = {"python", "sh", "output", "text", "bibtex"}
ELSEWHERE = {
    "README.md": "docs/test_readme.py",
    "docs/cli.md": "docs/test_documented_commands.py",
    "docs/data.md": "data/test_data_docs.py",
    "docs/deployment.md": "models/test_export.py",
    "docs/explain.md": "analysis/test_heat_maps.py",
    "docs/tutorials/custom_backbone.md": "docs/test_readme_path.py",
}
"""Page -> the tests that run its blocks, with checks of their results."""
TEXTS = {page.relative_to(ROOT).as_posix(): page.read_text("utf-8") for page in PAGES}
FOUND = {name: BLOCK.findall(text) for name, text in TEXTS.items() if name not in ELSEWHERE}
CODE = {Path(name).stem: blocks for name, blocks in FOUND.items() if blocks}


def test_every_block_has_a_known_language_and_is_found() -> None:
    """Blocks in ``text`` are messages, formulas and results; those in ``sh`` have other tests."""
    assert all((ROOT / "tests" / tests).is_file() for tests in ELSEWHERE.values())
    for name, text in TEXTS.items():
        opened = re.findall(r"^[ >]*(?:```|~~~)(.*)$", text, re.MULTILINE)[::2]
        assert {word for word in opened if word[:1] != "{"} <= LANGUAGES, name
        assert name in ELSEWHERE or len(FOUND[name]) == opened.count("python"), name
    assert len(CODE) == sum(map(bool, FOUND.values())), "two pages with code have one name"
    assert {word for blocks in CODE.values() for word in namespaces(blocks)} == {*BACKENDS}


def namespaces(blocks: list[tuple[str, str]]) -> set[str]:
    """The namespaces of `bilinear` that the blocks import."""
    found = {word for code, _ in blocks for match in IMPORT.findall(code) for word in match[1:]}
    return found & {*BACKENDS}


@pytest.mark.parametrize("name", CODE)
def test_the_code_prints_the_output_shown(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if absent := namespaces(CODE[name]) - {*PRESENT}:
        pytest.skip(f"needs {', '.join(absent)}")
    packages = {match[0] for code, _ in CODE[name] for match in IMPORT.findall(code)}
    packages |= {"tensorboard"} if name == "fit" else set()  # of the extra cli
    if absent := {package for package in packages if not importlib.util.find_spec(package)}:
        pytest.skip(f"needs {', '.join(absent)}")
    monkeypatch.chdir(tmp_path)
    if "birds.safetensors" in CODE[name][0][0]:
        write_model(tmp_path / "birds.safetensors")
    variables: dict[str, object] = {"__name__": "tutorial"}
    for code, expected in CODE[name]:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code, variables)
        assert printed.getvalue() == expected or not expected


def write_model(path: Path) -> None:
    """Write the model file that a page reads and does not write itself."""
    if not PRESENT:
        pytest.skip("needs a framework")
    made = driver(PRESENT[0])
    network = made.model("resnet18", 2, taps=("layer1",), projection=4)
    made.save(network, path, classes=("finch", "wren"), preprocessing=Preprocessing(16))


PACKAGE = Path(bilinear.__file__).parent
EXAMPLES = [p for p in sorted(PACKAGE.rglob("*.py")) if ">>> " in p.read_text("utf-8")]
ABBREVIATIONS = {"np": "numpy", "torch": "torch", "tf": "tensorflow", "keras": "keras"}
ABBREVIATIONS |= {"jax": "jax", "jnp": "jax.numpy", "nnx": "flax.nnx"}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_the_examples_of_docstrings_print_what_they_show(path: Path) -> None:
    """With the names of the namespace. Those with ``doctest: +SKIP`` would download weights."""
    inside = path.relative_to(PACKAGE)
    folder = "tensorflow" if "keras" in inside.parts else inside.parts[1]
    if folder in BACKENDS and folder not in PRESENT:
        pytest.skip(f"needs {folder}")
    text = path.read_text("utf-8")
    names = {
        short: importlib.import_module(package)
        for short, package in ABBREVIATIONS.items()
        if f"{short}." in text and importlib.util.find_spec(package.partition(".")[0])
    }
    module = importlib.import_module(".".join(["bilinear", *inside.with_suffix("").parts]))
    namespace = folder if folder in BACKENDS else "backends.initial_values"  # random tables
    names |= vars(importlib.import_module(f"bilinear.{namespace}"))
    tests = doctest.DocTestFinder(recurse=True).find(module, extraglobs=names)
    runner = doctest.DocTestRunner(verbose=False)
    failed = [test.name for test in tests if runner.run(test).failed]
    assert runner.tries == text.count(">>> ") - text.count("+SKIP")
    assert not failed
