"""Imports, errors and signatures of the public namespaces."""

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
from bilinear.contract.layers import LAYERS
from bilinear.testing import OPERATORS

from ..subjects import PRESENT

ROOTS = sorted({name for names, _ in BACKENDS.values() for name in names} | {"typer"})

LOADED = """
import sys
import {module}
roots = {{name.partition(".")[0] for name in sys.modules}}
print(" ".join(sorted(roots & set({roots!r}))))
"""

ANALYSIS = ("classifiers", "descriptors", "drawing", "heat_maps", "metrics")

EXTRAS = {
    "torch": {"data_format", "device", "dtype"},
    "tensorflow": {"data_format", "dtype", "kwargs"},
    "jax": {"rngs", "dtype"},
    "reference": set(),
}
"""Additional parameters that layers and models have in a framework. `BCNN` has a dtype everywhere,
in PyTorch by default that of new tensors.
"""


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


def test_importing_bilinear_imports_no_framework_and_is_fast() -> None:
    assert loaded("bilinear") == set()
    assert loaded("bilinear.train") == set()
    code = "import time; t = time.perf_counter(); import bilinear; print(time.perf_counter() - t)"
    seconds = min(float(run(code).stdout) for _ in range(3))
    assert seconds < 0.1


@pytest.mark.parametrize(
    "name",
    [
        *("reference", "contract", "data", "data.images", "presets", "models.conversion"),
        *(f"analysis.{name}" for name in ANALYSIS),
    ],
)
def test_framework_free_modules_import_no_framework(name: str) -> None:
    assert loaded(f"bilinear.{name}") == set()


def test_importing_the_command_line_imports_no_framework() -> None:
    pytest.importorskip("typer", reason="the extra cli is absent")
    assert loaded("bilinear.cli") == {"typer"}


@pytest.mark.parametrize("namespace", PRESENT)
def test_a_namespace_imports_only_its_own_framework(namespace: str) -> None:
    alone = set().union(*(loaded(name) for name in BACKENDS[namespace][0]))
    assert loaded(f"bilinear.{namespace}") == alone


@pytest.mark.parametrize(
    "module", ["bilinear", *(f"bilinear.{namespace}" for namespace in PRESENT)]
)
def test_namespaces_do_not_import_modules_of_commands(module: str) -> None:
    code = f"import sys, {module}; print(*(n for n in sys.modules if n.startswith('bilinear.')))"
    result = run(code)
    assert result.returncode == 0, result.stderr
    found = set(result.stdout.split())
    assert not found & {"bilinear.cli", "bilinear.train"}
    assert not found & {f"bilinear.analysis.{name}" for name in ("drawing", "heat_maps")}
    assert not re.search(r"\.(conversion|native|evidence)\b", result.stdout)


@pytest.mark.parametrize("namespace", PRESENT)
def test_names_in_the_readme_can_be_imported(namespace: str) -> None:
    result = run(f"from bilinear.{namespace} import BilinearPool, BCNN, save, load; print(BCNN)")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("namespace", BACKENDS)
def test_a_missing_framework_names_the_pip_command(namespace: str, tmp_path: Path) -> None:
    """In a process without site-packages, with only this package on the path."""
    (tmp_path / "bilinear").symlink_to(Path(bilinear.__file__).parent)
    result = run(f"import bilinear.{namespace}", "-S", PYTHONPATH=str(tmp_path))
    last = result.stderr.strip().splitlines()[-1]
    assert last == (
        f"ImportError: bilinear.{namespace} needs {' and '.join(BACKENDS[namespace][0])}, "
        f"not installed here; pip install 'bilinear[{namespace}]' installs what it needs."
    )


@pytest.mark.parametrize("namespace", BACKENDS)
def test_a_broken_framework_shows_its_own_error(namespace: str, tmp_path: Path) -> None:
    for name in BACKENDS[namespace][0]:
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('libframework.so is torn')\n")
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])
    result = run(f"import bilinear.{namespace}", PYTHONPATH=path)
    assert result.stderr.strip().splitlines()[-1] == "RuntimeError: libframework.so is torn"
    assert "pip install" not in result.stderr


@pytest.mark.skipif(not {"tensorflow", "jax"} <= set(PRESENT), reason="needs a second backend")
def test_another_keras_backend_is_a_clear_error() -> None:
    result = run("import bilinear.tensorflow", KERAS_BACKEND="jax")
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: ")
    assert "KERAS_BACKEND" in last


def signature(namespace: str, name: str) -> list[tuple[str, object, object]]:
    """Names, defaults and kinds of the parameters, without those in `EXTRAS`."""
    thing = getattr(importlib.import_module(f"bilinear.{namespace}"), name)
    is_class = inspect.isclass(thing)
    thing = thing.__init__ if is_class else thing
    skipped = {"self", *(EXTRAS[namespace] if is_class else ())}
    parameters = inspect.signature(thing).parameters.values()
    return [(p.name, p.default, p.kind) for p in parameters if p.name not in skipped]


@pytest.mark.skipif(len(PRESENT) < 2, reason="needs a second backend")
@pytest.mark.parametrize(
    "name", [*OPERATORS, *LAYERS, "BCNN", "preset", "save", "load", "load_image"]
)
def test_all_namespaces_have_the_same_signatures(name: str) -> None:
    first, *others = PRESENT
    expected = signature(first, name)
    for namespace in others:
        assert signature(namespace, name) == expected, f"{first} and {namespace}"


@pytest.mark.parametrize("namespace", PRESENT)
@pytest.mark.parametrize("name", OPERATORS)
def test_operators_have_the_signatures_of_the_specification(namespace: str, name: str) -> None:
    assert signature(namespace, name) == signature("reference", name)


@pytest.mark.skipif("torch" not in PRESENT, reason="other frameworks move arrays automatically")
@pytest.mark.parametrize("op", ["outer_pool", "bilinear_pool"])
def test_arrays_on_two_devices_are_refused(op: str) -> None:
    """With the meta device, which exists on every machine."""
    torch = importlib.import_module("torch")
    x, elsewhere = torch.ones(2, 4, 3), torch.ones(2, 4, 5, device="meta")
    mask = torch.ones(2, 4, dtype=bool, device="meta")
    operator = getattr(importlib.import_module("bilinear.torch"), op)
    for name, options in {"y": {"y": elsewhere}, "mask": {"mask": mask}}.items():
        with pytest.raises(TypeError) as expected:
            contract.check_same_device(op, {"x": "cpu", name: "meta"})
        with pytest.raises(TypeError, match=re.escape(str(expected.value))):
            operator(x, **options)
