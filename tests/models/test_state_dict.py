"""Checkpoints as training tools save them: one reader gives the same tensors of each."""

import re
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from bilinear.models.state_dict import open_state, state_tensors

Tensors = dict[str, Any]


def prefixed(prefix: str, tensors: Tensors) -> Tensors:
    return {prefix + name: tensor for name, tensor in tensors.items()}


def averaged(tensors: Tensors) -> Tensors:
    return {"n_averaged": next(iter(tensors.values()))[:1]} | prefixed("module.", tensors)


def other(tensors: Tensors) -> Tensors:
    return {name: tensor + 1 for name, tensor in tensors.items()}


def partly(prefix: str, tensors: Tensors) -> Tensors:
    return {prefix * (i % 2) + name: v for i, (name, v) in enumerate(tensors.items())}


TOOLS: dict[str, Callable[[Tensors], Tensors]] = {
    "one device": dict,
    "DataParallel": lambda t: prefixed("module.", t),
    "torch.compile": lambda t: prefixed("_orig_mod.", t),
    "DataParallel of torch.compile": lambda t: prefixed("module._orig_mod.", t),
    "torch.compile of DataParallel": lambda t: prefixed("_orig_mod.module.", t),
    "some compiled layers": lambda t: partly("_orig_mod.", t),
    "DataParallel within": lambda t: {n.replace(".", ".module.", 1): v for n, v in t.items()},
    "AveragedModel": averaged,
    "Lightning": lambda t: {"state_dict": prefixed("model.", t), "epoch": 3, "callbacks": {}},
    "Lightning, compiled": lambda t: {"state_dict": prefixed("model._orig_mod.", t)},
    "PyTorch's tutorials": lambda t: {
        "model_state_dict": t,
        "optimizer_state_dict": {"state": {0: {"momentum_buffer": next(iter(t.values()))}}},
        "loss": 0.5,
    },
    "timm": lambda t: {"state_dict": other(t), "state_dict_ema": t, "args": Namespace(lr=0.1)},
    "torchvision": lambda t: {"model": other(t), "model_ema": averaged(t), "args": Namespace()},
    "twice": lambda t: {"model": {"state_dict": prefixed("model.module.", t)}},
}
"""Tool -> what it saves of a model with these tensors."""

PLACEHOLDERS = {
    "a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
    "an HTML page": b"\n<!DOCTYPE html><title>Sign in</title>",
}


NAMES = "conv1.weight", "layer1.0.conv1.weight", "model.0.weight", "classifier.bias"
TENSORS = {name: np.full((2, 3), i, np.float32) for i, name in enumerate(NAMES)}


@pytest.mark.parametrize("tool", TOOLS)
def test_the_tensors_of_every_tool(tool: str) -> None:
    """`model.` is a prefix only where it is not in the name of a known tensor."""
    saved = TOOLS[tool](TENSORS)
    found = state_tensors("read", saved, TENSORS.__contains__)
    assert set(found) == set(TENSORS)
    for name, array in found.items():
        np.testing.assert_array_equal(array, TENSORS[name])


FLAT = [t for t in TOOLS if all(isinstance(v, np.ndarray) for v in TOOLS[t](TENSORS).values())]


@pytest.mark.parametrize("tool", FLAT)
def test_prefixes_in_safetensors(tool: str, tmp_path: Path) -> None:
    path = str(tmp_path / "model.safetensors")
    save_file(TOOLS[tool](TENSORS), path)
    with open_state("read", path, None, TENSORS.__contains__) as state:
        assert set(state.specs) == set(TENSORS)
        for name in state.specs:
            np.testing.assert_array_equal(state.read(name), TENSORS[name])


REPEATED = np.broadcast_to(np.float32(0), (10**7, 10**6))
OVERLAPPING = np.lib.stride_tricks.as_strided(np.zeros(20, "f"), (10, 10), (4, 4))


@pytest.mark.parametrize(
    ("saved", "words"),
    [
        ([], "read: the file must hold a state_dict; got builtins.list."),
        ({"model": {}, "state_dict": {"epoch": 3}}, "'epoch' must be one tensor; got int."),
        ({"a": {"b": np.zeros(2)}}, "'a' must be one tensor; got dict. The file must hold one"),
        (
            {"fc.bias": np.zeros(3), "module.fc.bias": np.zeros(3)},
            "'fc.bias' must be one tensor; got 'fc.bias' and 'module.fc.bias'.",
        ),
        ({"a": REPEATED}, "all elements of 'a' must be stored; got 4 bytes for the 40,000,000,000"),
        ({"a": OVERLAPPING}, "all elements of 'a' must be stored; got 76 bytes for the 400 of"),
    ],
)
def test_what_is_no_state_dict(saved, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        state_tensors("read", saved, TENSORS.__contains__)
