"""What opening a door costs and says, each in a process of its own, and what all have alike."""

import importlib
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import bilinear
from bilinear import contract
from bilinear._require import BACKENDS
from bilinear.testing import OPERATORS

from ..subjects import PRESENT

ROOTS = sorted({name for names, _ in BACKENDS.values() for name in names} | {"typer"})

LOADED = """
import sys
import {module}
roots = {{name.partition(".")[0] for name in sys.modules}}
print(" ".join(sorted(roots & set({roots!r}))))
"""

EXTRAS = {
    ("tensorflow", "BCNN"): {"kwargs"},
    ("tensorflow", "BilinearPool"): {"data_format", "kwargs"},
}
"""Parameters beyond the contract's: what Keras asks of its own layers and models."""


def run(code: str, *flags: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *flags, "-c", code],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=os.environ | environment,
    )


def loaded(module: str) -> set[str]:
    result = run(LOADED.format(module=module, roots=ROOTS))
    assert result.returncode == 0, result.stderr
    return set(result.stdout.split())


def test_importing_bilinear_imports_no_framework_and_is_quick() -> None:
    assert loaded("bilinear") == set()
    assert loaded("bilinear.train") == set()
    code = "import time; t = time.perf_counter(); import bilinear; print(time.perf_counter() - t)"
    seconds = min(float(run(code).stdout) for _ in range(3))
    assert seconds < 0.1


@pytest.mark.parametrize(
    "name",
    [
        *("reference", "images", "contract", "presets", "metrics", "features"),
        *("explanation", "drawing", "models.conversion"),
    ],
)
def test_the_framework_free_parts_import_no_framework(name: str) -> None:
    assert loaded(f"bilinear.{name}") == set()


def test_the_command_line_imports_no_framework_of_itself() -> None:
    pytest.importorskip("typer", reason="the extra cli is absent")
    assert loaded("bilinear.cli") == {"typer"}


@pytest.mark.parametrize("door", PRESENT)
def test_a_door_adds_no_framework_beyond_its_own(door: str) -> None:
    alone = set().union(*(loaded(name) for name in BACKENDS[door][0]))
    assert loaded(f"bilinear.{door}") == alone


@pytest.mark.parametrize("module", ["bilinear", *(f"bilinear.{door}" for door in PRESENT)])
def test_no_door_opens_what_only_commands_need(module: str) -> None:
    code = f"import sys, {module}; print(*(n for n in sys.modules if n.startswith('bilinear.')))"
    result = run(code)
    assert result.returncode == 0, result.stderr
    found = {name.split(".")[1] for name in result.stdout.split()}
    assert not found & {"cli", "explanation", "drawing"}
    assert not re.search(r"\.(conversion|native|evidence)\b", result.stdout)


@pytest.mark.parametrize("door", PRESENT)
def test_the_names_the_readme_promises(door: str) -> None:
    result = run(f"from bilinear.{door} import BilinearPool, BCNN, save, load; print(BCNN)")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("door", BACKENDS)
def test_a_missing_framework_is_one_sentence_with_the_cure(door: str, tmp_path: Path) -> None:
    """A real absence: without site-packages, and with this package alone on the path."""
    (tmp_path / "bilinear").symlink_to(Path(bilinear.__file__).parent)
    result = run(f"import bilinear.{door}", "-S", PYTHONPATH=str(tmp_path))
    last = result.stderr.strip().splitlines()[-1]
    assert last == (
        f"ImportError: bilinear.{door} needs {' and '.join(BACKENDS[door][0])}, "
        f"not installed here; pip install 'bilinear[{door}]' installs what it needs."
    )


@pytest.mark.parametrize("door", BACKENDS)
def test_a_broken_framework_shows_its_own_error(door: str, tmp_path: Path) -> None:
    for name in BACKENDS[door][0]:
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('libframework.so is torn')\n")
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])
    result = run(f"import bilinear.{door}", PYTHONPATH=path)
    assert result.stderr.strip().splitlines()[-1] == "RuntimeError: libframework.so is torn"
    assert "pip install" not in result.stderr


@pytest.mark.skipif(not {"tensorflow", "jax"} <= set(PRESENT), reason="needs a second backend")
def test_another_keras_backend_is_named_in_one_sentence() -> None:
    result = run("import bilinear.tensorflow", KERAS_BACKEND="jax")
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: ")
    assert "KERAS_BACKEND" in last


def signature(door: str, name: str) -> list[tuple[str, object, object]]:
    """Names, defaults and kinds of the parameters, without the door's extras."""
    thing = getattr(importlib.import_module(f"bilinear.{door}"), name)
    thing = thing.__init__ if inspect.isclass(thing) else thing
    skipped = EXTRAS.get((door, name), set()) | {"self"}
    parameters = inspect.signature(thing).parameters.values()
    return [(p.name, p.default, p.kind) for p in parameters if p.name not in skipped]


@pytest.mark.skipif(len(PRESENT) < 2, reason="needs a second backend")
@pytest.mark.parametrize(
    "name", [*OPERATORS, "BilinearPool", "BCNN", "preset", "save", "load", "load_image"]
)
def test_every_door_has_the_same_signatures(name: str) -> None:
    first, *others = PRESENT
    expected = signature(first, name)
    for door in others:
        assert signature(door, name) == expected, f"{first} and {door}"


@pytest.mark.parametrize("door", PRESENT)
@pytest.mark.parametrize("name", OPERATORS)
def test_operators_have_the_signatures_of_the_specification(door: str, name: str) -> None:
    assert signature(door, name) == signature("reference", name)


@pytest.mark.skipif("torch" not in PRESENT, reason="other frameworks move arrays by themselves")
@pytest.mark.parametrize("op", ["outer_pool", "bilinear_pool"])
def test_arrays_on_two_devices_are_refused_in_the_words_of_the_contract(op: str) -> None:
    """On torch's meta device, which every machine has."""
    torch = importlib.import_module("torch")
    x, elsewhere = torch.ones(2, 4, 3), torch.ones(2, 4, 5, device="meta")
    keep = torch.ones(2, 4, dtype=bool, device="meta")
    operator = getattr(importlib.import_module("bilinear.torch"), op)
    for name, options in {"y": {"y": elsewhere}, "mask": {"mask": keep}}.items():
        with pytest.raises(TypeError) as expected:
            contract.check_same_device(op, {"x": "cpu", name: "meta"})
        with pytest.raises(TypeError, match=re.escape(str(expected.value))):
            operator(x, **options)
