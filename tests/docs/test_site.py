"""The sources of the documentation site, and the names in the built site if there is one."""

import ast
import importlib
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import bilinear
from bilinear import reference

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PACKAGE = Path(bilinear.__file__).parent
INVENTORY = ROOT / "out" / "site" / "objects.inv"
if not (DOCS / "conf.py").is_file():
    pytest.skip("the documents are elsewhere", allow_module_level=True)

OPERATORS = [name for name in reference.__all__ if not name.endswith("_vjp")]
MODULES = re.findall(
    r"^   (bilinear\.[\w.]+)$", (DOCS / "api" / "index.md").read_text("utf-8"), re.M
)
"""The modules whose public names Sphinx lists and documents."""


def tree(module: str) -> ast.Module:
    path = PACKAGE.joinpath(*module.split(".")[1:])
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(file.read_text(encoding="utf-8"))


def public_names(module: str) -> Iterator[str]:
    """Yield the names of `__all__`, or without it the public classes and functions."""
    body = tree(module).body
    for node in body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            yield from ast.literal_eval(node.value)
            return
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
            yield node.name


def test_every_module_with_public_names_is_in_the_reference() -> None:
    """Formulas has the names of `bilinear.reference`, and docs/cli.md the command line."""
    files = [*PACKAGE.glob("*.py"), *PACKAGE.glob("*/__init__.py")]
    public = [path for path in files if "\n__all__ = " in path.read_text(encoding="utf-8")]
    names = {path.parent.name if path.stem == "__init__" else path.stem for path in public}
    assert {f"bilinear.{name}" for name in names - {"reference", "cli"}} <= {*MODULES}
    assert "bilinear.torch" in MODULES


def test_every_operator_has_a_page_of_formulas() -> None:
    pages = {path.stem for path in (DOCS / "formulas").glob("*.md")}
    assert pages == {*OPERATORS, "index"}
    for name in OPERATORS:
        text = (DOCS / "formulas" / f"{name}.md").read_text(encoding="utf-8")
        assert re.findall(r"autofunction:: (\w+)", text) == [name, f"{name}_vjp"]
        assert text.startswith(f"# {name}\n\n## Value\n")
        assert "\n## Gradient\n" in text


def test_the_page_on_citing_has_the_version() -> None:
    text = (DOCS / "project" / "citing.md").read_text(encoding="utf-8")
    assert f"version = {{{bilinear.__version__}}}" in text


SPEED = """
<!-- measured: operators -->
| framework | operator | dtype | pass | ÷ formula | ÷ compiled |
| --- | --- | --- | --- | --- | --- |
| torch 2.13 | outer_pool | float32 | forward + backward | 0.50 (0.4–0.6) | 1.00 (0.9–1.1) |
| torch 2.13 | outer_pool | float32 | forward + backward | 1.50 (1.4–1.6) | 1.00 (0.9–1.1) |
| torch 2.13 | outer_pool | float32 | forward | 9.00 (8.0–9.9) | 9.00 (8.0–9.9) |
| jax 0.10 | outer_pool | bfloat16 | forward + backward | 9.00 (8.0–9.9) | 9.00 (8.0–9.9) |
"""
ERRORS = """
| operator | backend | direction | float64 | float32 | bfloat16 | float16 |
| --- | --- | --- | --- | --- | --- | --- |
| outer_pool | jax | forward | 0.100 | 0.200 | 0.000 | 2.000 |
| outer_pool | jax | gradient | 0.300 | 0.100 | 0.000 | 0.000 |
"""


def test_summaries_of_measurements(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of small tables. Markers of the limits are on the line: ratio 1, and error 2."""
    monkeypatch.syspath_prepend(DOCS)
    measurements = importlib.import_module("extensions.measurements")
    assert all(f"| `{name}` |" in measurements.speed() for name in ("outer_pool", "BilinearPool"))
    assert "| NumPy |" in measurements.errors()
    (tmp_path / "benchmarks.md").write_text(SPEED, encoding="utf-8")
    (tmp_path / "parity.md").write_text(ERRORS, encoding="utf-8")
    monkeypatch.setattr(measurements, "DOCS", tmp_path)
    chart, _, table = measurements.speed().partition("\n\n")
    assert table.splitlines()[2:] == ["| `outer_pool` | 1.00 | 1.00 |"]
    lines = {float(x) for x in re.findall(r"<line x1='([\d.]+)'.*stroke-width", chart)}
    drawn = [float(x) for x in re.findall(r"translate\(([\d.]+),\d\d\)", chart)]
    assert lines == {*drawn[1:]}  # the first marker is that of the legend
    chart, _, table = measurements.errors().partition("\n\n")
    assert table.splitlines()[2:] == [
        "| JAX | 0.300 `outer_pool` | 0.200 `outer_pool` | 0.000  | 2.000 `outer_pool` |"
    ]
    (line,) = re.findall(r"<line x1='([\d.]+)'.*stroke-width", chart)
    assert f"translate({line},70)" in chart


@pytest.mark.skipif(not INVENTORY.is_file(), reason="the site has not been built")
def test_every_public_name_is_in_the_built_site() -> None:
    _, _, _, _, data = INVENTORY.read_bytes().split(b"\n", 4)
    found = {line.split()[0] for line in zlib.decompress(data).decode().splitlines()}
    for module in ["bilinear.reference", *MODULES]:
        missing = {f"{module}.{name}" for name in public_names(module)} - found
        assert not missing
