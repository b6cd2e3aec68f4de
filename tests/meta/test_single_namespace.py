"""Each namespace works if the other frameworks cannot be imported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bilinear._require import BACKENDS

from ..subjects import PRESENT

ROOT = Path(__file__).parents[2]
OTHERS = {"jax": ("jax", "jaxlib", "flax", "optax"), "torch": ("torch", "torchvision")}
OTHERS |= {"tensorflow": ("tensorflow", "keras")}

CODE = """
import sys
from importlib.machinery import PathFinder

class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        blocked = name.partition(".")[0] in {blocked!r}
        return None if blocked else super().find_spec(name, path, target)

sys.meta_path[:] = [Without if finder is PathFinder else finder for finder in sys.meta_path]

import numpy as np
from bilinear.{namespace} import BCNN, BilinearPool, load, save, outer_pool
from bilinear.__main__ import main

import pathlib, tempfile
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
loaded = {{name.partition(".")[0] for name in sys.modules}}
assert not loaded & set({blocked!r}), loaded
"""


@pytest.mark.parametrize("namespace", PRESENT)
def test_a_namespace_needs_no_other_framework(namespace: str) -> None:
    blocked = [name for other in BACKENDS if other != namespace for name in OTHERS[other]]
    result = subprocess.run(
        [sys.executable, "-c", CODE.format(namespace=namespace, blocked=blocked)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr
