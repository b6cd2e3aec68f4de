"""The package layout and its import rules, read from the code itself."""

import ast
import re
from pathlib import Path

import pytest

import bilinear
from bilinear import reference
from bilinear._require import BACKENDS

PACKAGE = Path(bilinear.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
OPERATORS = {name for name in reference.__all__ if not name.endswith("_vjp")}
FRAMEWORKS = {name for names, _ in BACKENDS.values() for name in names}


def imports(path: Path) -> set[str]:
    """Return the absolute names of all modules that a file imports."""
    package = ["bilinear", *path.relative_to(PACKAGE).parent.parts]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found.add(module)
            found.update(f"{module}.{alias.name}" for alias in node.names)
    return found


_OF_NAMESPACES = {"contract", "backends", "data", "models", "presets"}
ALLOWED = {
    "contract": set(),
    "reference": {"contract"},
    "backends": {"contract", "presets"},
    "data": {"contract"},
    "analysis": {"contract"},
    "testing": {"contract", "reference"},
    "presets": {"contract"},
    "models": {"contract", "backends", "data", "analysis", "presets"},
    "train": {"contract", "backends", "data", "analysis", "models", "presets"},
    "cli": {"contract", "data", "analysis", "models", "presets", "train"},
    "__main__": {"cli"},
    **dict.fromkeys((*BACKENDS, "keras"), _OF_NAMESPACES),
}
"""The parts of the package that each part may import, besides itself.

The command line imports namespaces by name. Backends must not import the reference, because the
tests would then compare the reference with itself.
"""


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_import_rules(path: Path) -> None:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    used = {name for name in imports(path) if name.startswith("bilinear.")}
    if parts[0] == "testing":  # layers need the initial tables and weights
        used = {name for name in used if not name.startswith("bilinear.backends.initial_values")}
    imported = {name.split(".")[1] for name in used} & ALLOWED.keys()
    assert imported <= {parts[0], *ALLOWED.get(parts[0], ())}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_frameworks_are_imported_only_in_their_folders(path: Path) -> None:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    own = [namespace for namespace in BACKENDS if namespace in parts]
    allowed = {name for namespace in own for name in BACKENDS[namespace][0]}
    allowed |= {"keras"} & set(parts)
    roots = {name.split(".")[0] for name in imports(path)}
    assert not roots & (FRAMEWORKS - allowed)


def test_every_operator_has_a_file_of_its_name() -> None:
    folders = [
        PACKAGE / "reference",
        PACKAGE / "testing" / "ops",
        *(PACKAGE / "backends" / name for name in BACKENDS),
    ]
    for folder in folders:
        files = {path.stem for path in folder.glob("[a-z]*.py")}
        assert files == OPERATORS, folder


def test_every_operator_has_its_test_file() -> None:
    files = {path.stem for path in (Path(__file__).parents[1] / "operators").glob("test_*.py")}
    assert {f"test_{op}" for op in OPERATORS} <= files


def test_namespaces_have_equal_names_and_every_operator() -> None:
    """The files are read as text, so that no framework is needed."""
    names = {}
    for namespace in BACKENDS:
        text = (PACKAGE / f"{namespace}.py").read_text()
        names[namespace] = re.findall(r'"(\w+)"', text.partition("__all__")[2])
    names["tensorflow"].remove("SGD")  # an optimizer with PyTorch's formula, unlike that of Keras
    assert names["torch"] == names["tensorflow"] == names["jax"]
    assert len(set(names["torch"])) == len(names["torch"])
    assert set(names["torch"]) >= OPERATORS


def test_public_functions_are_documented() -> None:
    for path in FILES:
        tree = ast.parse(path.read_text())
        assert ast.get_docstring(tree), path
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name in reference.__all__:
                assert ast.get_docstring(node), f"{path}: {node.name}"


def test_the_types_are_shipped() -> None:
    assert (PACKAGE / "py.typed").is_file()
