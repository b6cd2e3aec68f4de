"""Imports, errors and signatures of the public namespaces."""

import importlib
import importlib.util
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import bilinear
from bilinear import contract
from bilinear._require import BACKENDS
from bilinear.contract.layers import LAYERS
from bilinear.testing import OPERATORS

from ..subjects import PRESENT

ALONE = """
import importlib, pathlib, sys, tempfile
from importlib.machinery import PathFinder

asked = set()

class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        blocked = name.partition(".")[0] in {blocked!r}
        asked.update([name] if blocked else [])
        return None if blocked else super().find_spec(name, path, target)

sys.meta_path[:] = [Without if finder is PathFinder else finder for finder in sys.meta_path]
for package in {packages!r}:
    importlib.import_module(package)
asked.clear()

from bilinear.{namespace} import BCNN, BilinearPool, load, save, outer_pool
of_commands = {{"bilinear.cli", "bilinear.train"}}
of_commands |= {{f"bilinear.analysis.{{name}}" for name in ("drawing", "heat_maps")}}
of_commands |= {{f"bilinear.models.{{name}}" for name in ("conversion", "native", "inference")}}
assert not of_commands & set(sys.modules), of_commands & set(sys.modules)
assert not asked, asked

from bilinear.__main__ import main
model = BCNN("resnet18", 3, dtype="float32")
with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / "model.safetensors"
    save(model, path)
    again = load(path)
    sys.argv = ["bilinear", "info", str(path)]
    try:
        main()
    except SystemExit as end:
        assert not end.code, end.code
"""
"""Code that runs while the packages of the other namespaces cannot be imported."""

IMPORTS = """
import importlib, sys
for name in {modules!r}:
    importlib.import_module(name)
    print(name, *{{name.partition(".")[0] for name in sys.modules}} & {roots!r})
"""

FURTHER = {"torch": ("torchvision",), "tensorflow": (), "jax": ("jaxlib", "optax")}
"""Packages of each framework that `BACKENDS` does not name."""

FREE = ("reference", "contract", "data", "data.images", "presets", "models.conversion", "train")
FREE += tuple(
    f"analysis.{name}"
    for name in ("classifiers", "costs", "descriptors", "drawing", "heat_maps", "metrics")
)

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


def test_importing_bilinear_imports_no_framework_and_is_fast() -> None:
    code = "import time; t = time.perf_counter(); import bilinear; print(time.perf_counter() - t)"
    assert min(float(run(code).stdout) for _ in range(3)) < 0.1
    roots = {name for names, _ in BACKENDS.values() for name in names} | {"typer", "scipy"}
    assert "bilinear.data" not in run("import sys, bilinear; print(*sys.modules)").stdout.split()
    modules = ["bilinear", *(f"bilinear.{name}" for name in FREE)]
    needed = {"bilinear.cli": "typer", "bilinear.train.tensorboard_log": "tensorboard"}
    commands = [name for name, package in needed.items() if importlib.util.find_spec(package)]
    result = run(IMPORTS.format(modules=modules + commands, roots=roots))
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [*modules, *(f"{name} typer" for name in commands)]


@pytest.mark.parametrize("namespace", PRESENT)
def test_a_namespace_needs_no_other_framework(namespace: str) -> None:
    """It does not try to import one, and imports no module of the commands."""
    others = [other for other in BACKENDS if other != namespace]
    blocked = [name for other in others for name in (*BACKENDS[other][0], *FURTHER[other])]
    packages = BACKENDS[namespace][0]
    result = run(ALONE.format(namespace=namespace, packages=packages, blocked=blocked))
    assert result.returncode == 0, result.stderr


BARE = ("numpy", "numpy.libs", "ml_dtypes", "safetensors", "PIL", "pillow.libs")
COMMAND = "import sys; from bilinear.__main__ import main; sys.argv = ['bilinear', 'info']; main()"
MISSING = {
    **{name: (f"bilinear.{name}", roots, name) for name, (roots, _) in BACKENDS.items()},
    "keras": ("bilinear.keras", ("keras",), "keras"),
    "train": ("bilinear.train", ("pydantic",), "cli"),
    "command": ("The command line", ("typer", "rich"), "cli"),
}
"""What needs packages, the packages, and the extra that installs them."""


@pytest.mark.parametrize("case", MISSING)
def test_a_missing_package_names_the_pip_command(case: str, tmp_path: Path) -> None:
    """Without site-packages. Training needs the dependencies of the bare library before others."""
    (tmp_path / "bilinear").symlink_to(Path(bilinear.__file__).parent)
    for name in BARE if case == "train" else ():
        if (found := Path(np.__file__).parents[1] / name).exists():
            (tmp_path / name).symlink_to(found)
    what, packages, extra = MISSING[case]
    code = COMMAND if case == "command" else f"import {what}"
    result = run(code, "-S", PYTHONPATH=str(tmp_path))
    lines = result.stderr.strip().splitlines()
    start = "bilinear" if case == "command" else "ImportError"
    assert lines[-1] == (
        f"{start}: {what} needs {' and '.join(packages)}, "
        f"not installed here; pip install 'bilinear[{extra}]' installs what it needs."
    )
    if case == "command":
        assert (result.returncode, len(lines)) == (2, 1)


@pytest.mark.parametrize("namespace", BACKENDS)
def test_a_broken_framework_shows_its_own_error(namespace: str, tmp_path: Path) -> None:
    for name in BACKENDS[namespace][0]:
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('libframework.so is torn')\n")
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])
    result = run(f"import bilinear.{namespace}", PYTHONPATH=path)
    assert result.stderr.strip().splitlines()[-1] == "RuntimeError: libframework.so is torn"
    assert "pip install" not in result.stderr


@pytest.mark.skipif("tensorflow" not in PRESENT, reason="needs Keras")
@pytest.mark.parametrize(
    ("namespace", "backend", "remedy"),
    [
        ("tensorflow", "jax", "KERAS_BACKEND=tensorflow .*, or import bilinear.keras"),
        ("keras", "numpy", "KERAS_BACKEND=tensorflow or jax or torch "),
    ],
)
def test_another_keras_backend_is_a_clear_error(
    namespace: str, backend: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = importlib.import_module(f"bilinear.{namespace}")
    monkeypatch.setattr("keras.backend.backend", lambda: backend)
    with pytest.raises(ImportError, match=f"with {backend!r}; set .* {remedy}"):
        importlib.reload(module)


@pytest.mark.skipif("tensorflow" not in PRESENT, reason="needs Keras")
def test_the_names_of_keras_are_those_of_tensorflow() -> None:
    """All names but those of operators, and the same objects."""
    keras, tensorflow = (importlib.import_module(f"bilinear.{n}") for n in ("keras", "tensorflow"))
    assert set(keras.__all__) == set(tensorflow.__all__) - set(OPERATORS)
    assert all(getattr(keras, name) is getattr(tensorflow, name) for name in keras.__all__)


FILES = "save", "load", "load_image", "push_to_hub", "from_pretrained"


def signature(namespace: str, name: str) -> list[tuple[str, object, object]]:
    """Names, defaults and kinds of the parameters, without those in `EXTRAS`."""
    thing = getattr(importlib.import_module(f"bilinear.{namespace}"), name)
    skipped = EXTRAS[namespace] if inspect.isclass(thing) else set()
    parameters = inspect.signature(thing).parameters.values()
    return [(p.name, p.default, p.kind) for p in parameters if p.name not in skipped]


@pytest.mark.skipif(len(PRESENT) < 2, reason="needs a second backend")
@pytest.mark.parametrize("name", [*LAYERS, "BCNN", "preset", *FILES])
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
