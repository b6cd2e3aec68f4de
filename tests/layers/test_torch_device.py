"""PyTorch on another device: nothing is read back from it or copied to it, and results are on it.

Tensors of the device ``meta`` have no values, so that reading one raises an error. On a GPU, both
would wait for the host.
"""

import importlib
from typing import Any

import numpy as np
import pytest

from bilinear.testing import LAYERS, OPS

from ..subjects import PRESENT

pytestmark = pytest.mark.skipif("torch" not in PRESENT, reason="PyTorch is not installed")
WITH_TABLES = ("random_maclaurin", "tensor_sketch")
"""Operators whose tables may be NumPy arrays, which are copied; those of a layer are not."""
DISPATCHED = {
    "_bilinear_passes": ("backward", "backward_of_packed"),
    "bilinear_scores": ("_in_place",),
}
"""File -> its custom operators, which lack a form for tensors without values."""


def on_meta(array: np.ndarray) -> Any:
    return importlib.import_module("torch").from_numpy(np.array(array)).to("meta")


@pytest.fixture
def copies(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A block that lists operations with a tensor on the CPU, and refuses values of the host."""
    torch = importlib.import_module("torch")
    python_dispatch = importlib.import_module("torch.utils._python_dispatch")
    leaves = importlib.import_module("torch.utils._pytree").tree_leaves
    for file, names in DISPATCHED.items():
        module = importlib.import_module(f"bilinear.backends.torch.{file}")
        for name in names:
            monkeypatch.setattr(module, name, getattr(module, name)._init_fn)

    class Copies(python_dispatch.TorchDispatchMode):
        def __init__(self) -> None:
            super().__init__()
            self.found: list[str] = []

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            devices = (getattr(t, "device", None) for t in leaves((args, kwargs, result)))
            if any(device is not None and device.type == "cpu" for device in devices):
                self.found.append(str(function))
            return result

    def from_host(*_: Any, **__: Any) -> None:
        pytest.fail("a value of the host is copied to the device")

    for owner, name in ((torch, "tensor"), (torch, "as_tensor"), (torch.Tensor, "new_tensor")):
        monkeypatch.setattr(owner, name, from_host)
    return Copies()


def check(
    copies: Any, function: Any, inputs: list[Any], learned: list[Any], **options: Any
) -> None:
    torch = importlib.import_module("torch")
    inputs = [x.requires_grad_() for x in inputs]
    with copies:
        result = function(*inputs, **options)
        gradients = torch.autograd.grad(result, [*inputs, *learned], torch.ones_like(result))
    assert copies.found == []
    assert {tensor.device.type for tensor in (result, *gradients)} == {"meta"}


@pytest.mark.parametrize("op", [op for op in OPS if op not in WITH_TABLES])
def test_operators_stay_on_the_device(op: str, copies: Any) -> None:
    function = getattr(importlib.import_module("bilinear.torch"), op)
    for case in OPS[op].smooth("float32"):
        options = case.options | {k: on_meta(v) for k, v in case.options.items() if k == "mask"}
        check(copies, function, [on_meta(a) for a in case.arrays], [], **options)


@pytest.mark.parametrize("name", LAYERS)
def test_layers_stay_on_the_device(name: str, copies: Any) -> None:
    layer = getattr(importlib.import_module("bilinear.torch"), name)
    for maps, given in LAYERS[name].calls("float32").values():
        pool = layer(**given.get("parameters", {})).to("meta")
        for key, table in getattr(pool, "_named_tables", dict)().items():
            setattr(pool, key, table.to("meta"))  # the layer itself keeps their values
        mask = given.get("mask")
        options = {} if mask is None else {"mask": on_meta(mask)}
        inputs = [on_meta(np.moveaxis(a, -1, 1)) for a in maps]
        check(copies, pool, inputs, [*pool.parameters()], **options)
