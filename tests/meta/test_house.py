"""The import rules of the house, read from the code itself."""

import ast
import re
from pathlib import Path

import pytest

import bilinear
from bilinear import reference
from bilinear._require import BACKENDS

PACKAGE = Path(bilinear.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
FRAMEWORKS = {name for names, _ in BACKENDS.values() for name in names}


def imports(path: Path) -> set[str]:
    """Every module a file imports, absolute: bilinear's own as ``bilinear.…``."""
    package = ["bilinear", *path.relative_to(PACKAGE).parent.parts]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found.add(module)
            found.update(f"{module}.{alias.name}" for alias in node.names)
    return found


def layer(path: Path) -> str:
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else path.stem


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_import_rules(path: Path) -> None:
    """contract ← reference ← testing; contract ← backends ← models ← doors; doors: nobody.

    Data and analysis stand on the contract alone. Training stands on all but the doors; nothing
    but the command line stands on it, and nothing on the command line, which opens doors by name.
    """
    used = imports(path)
    own = {name.split(".")[1] for name in used if name.startswith("bilinear.")}
    forbidden = {
        "contract": {"reference", "backends", "models", "data", "analysis", "testing"},
        "reference": {"backends", "models", "data", "analysis", "testing"},
        "backends": {"reference", "models", "data", "analysis", "testing"},
        "models": {"reference", "testing"},
        "data": {"reference", "backends", "models", "analysis", "testing"},
        "analysis": {"reference", "backends", "models", "data", "testing"},
        "testing": {"backends", "models", "data", "analysis"},
        "train": {"reference", "testing"},
        "cli": {"reference", "backends", "testing"},
    }.get(layer(path), {"reference", "testing"})
    if layer(path) not in ("cli", "__main__"):
        forbidden = forbidden | {"cli", "train"}
    assert not own & (forbidden | set(BACKENDS)) - {layer(path)}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_frameworks_are_named_only_where_they_live(path: Path) -> None:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    at_home = [door for door in BACKENDS if door in parts]
    allowed = {name for door in at_home for name in BACKENDS[door][0]}
    allowed |= {"keras"} & set(parts)
    roots = {name.split(".")[0] for name in imports(path)}
    assert not roots & (FRAMEWORKS - allowed)


def test_one_file_name_an_operator_everywhere() -> None:
    operators = {name for name in reference.__all__ if not name.endswith("_vjp")}
    folders = [
        PACKAGE / "reference",
        PACKAGE / "testing" / "ops",
        *(PACKAGE / "backends" / door for door in BACKENDS),
    ]
    for folder in folders:
        files = {path.stem for path in folder.glob("[a-z]*.py")}
        assert files == operators, folder


def test_doors_have_equal_names() -> None:
    """Read from their text, so that no framework is needed; ruff keeps their order."""
    names = {}
    for door in BACKENDS:
        text = (PACKAGE / f"{door}.py").read_text()
        names[door] = re.findall(r'"(\w+)"', text.partition("__all__")[2])
    names["tensorflow"].remove("SGD")  # that of Keras computes other steps
    assert names["torch"] == names["tensorflow"] == names["jax"]
    assert len(set(names["torch"])) == len(names["torch"])


def test_every_operator_is_in_every_door() -> None:
    operators = {name for name in reference.__all__ if not name.endswith("_vjp")}
    text = (PACKAGE / "torch.py").read_text().partition("__all__")[2]
    assert operators <= set(re.findall(r'"(\w+)"', text))


def test_public_functions_are_documented() -> None:
    for path in FILES:
        tree = ast.parse(path.read_text())
        assert ast.get_docstring(tree), path
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name in reference.__all__:
                assert ast.get_docstring(node), f"{path}: {node.name}"


def test_the_types_are_shipped() -> None:
    assert (PACKAGE / "py.typed").is_file()
