"""The formats for deployment that PyTorch exports."""

import importlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import bilinear.torch

Run = Callable[..., np.ndarray]


class Head(torch.nn.Module):
    """A model that consists of a layer."""

    def __init__(self, layer: torch.nn.Module) -> None:
        super().__init__()
        self.layer = layer


class OneStream(Head):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)


class TwoStreams(Head):
    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return self.layer(x, y)


def build(case: Any) -> torch.nn.Module:
    made = getattr(bilinear.torch, case.name)(**case.parameters)
    return (TwoStreams if case.streams == 2 else OneStream)(made).eval()


def native(model: torch.nn.Module) -> Run:
    return lambda *arrays: _call(model, arrays)


def _call(function: Callable, arrays: Any) -> np.ndarray:
    with torch.inference_mode():
        return np.asarray(function(*_tensors(arrays)))


def _tensors(arrays: Any) -> tuple[torch.Tensor, ...]:
    return tuple(torch.from_numpy(np.moveaxis(a, -1, 1).copy()) for a in arrays)


def _sizes(model: Any, arrays: list[np.ndarray], dynamic: str) -> Any:
    step = 32 if arrays[0].shape[-1] == 3 else 1  # of the strides of a network
    axes = {"batch and size": "nhw", "batch": "n", "none": ""}[dynamic]
    dims = {axis: torch.export.Dim(axis, max=2**10) for axis in axes}
    scaled = {a: dims[a] if a == "n" else step * dims[a] for a in axes}
    return tuple({"n_hw".index(a): d for a, d in scaled.items()} for _ in arrays)


def _program(model: Any, arrays: list[np.ndarray], dynamic: str) -> Any:
    sizes = _sizes(model, arrays, dynamic)
    return torch.export.export(model, _tensors(arrays), dynamic_shapes=sizes)


def _onnx(model: Any, arrays: list[np.ndarray], dynamic: str, folder: Path) -> Path:
    path, names = folder / "model.onnx", ["x", "y"][: len(arrays)]
    with warnings.catch_warnings(action="ignore"):
        program = torch.onnx.export(
            model,
            _tensors(arrays),
            input_names=names,
            dynamic_shapes=_sizes(model, arrays, dynamic),
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    program.save(path, external_data=False)
    return path


def onnxruntime(model: Any, arrays: Any, dynamic: str, folder: Path) -> tuple[Run, int]:
    path = _onnx(model, arrays, dynamic, folder)
    session = importlib.import_module("onnxruntime").InferenceSession(path)
    names = [node.name for node in session.get_inputs()]

    def run(*arrays: np.ndarray) -> np.ndarray:
        given = (tensor.numpy() for tensor in _tensors(arrays))
        return session.run(None, dict(zip(names, given, strict=True)))[0]

    return run, path.stat().st_size


def openvino(model: Any, arrays: Any, dynamic: str, folder: Path) -> tuple[Run, int]:
    path = _onnx(model, arrays, dynamic, folder)
    core = importlib.import_module("openvino").Core()
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(core.read_model(path), "CPU", exact)

    def run(*arrays: np.ndarray) -> np.ndarray:
        return compiled([tensor.numpy() for tensor in _tensors(arrays)])[0]

    return run, path.stat().st_size


def exported(model: Any, arrays: Any, dynamic: str, folder: Path) -> tuple[Run, int]:
    path = folder / "model.pt2"
    torch.export.save(_program(model, arrays, dynamic), path)
    return native(torch.export.load(path).module()), path.stat().st_size


def inductor(model: Any, arrays: Any, dynamic: str, folder: Path) -> tuple[Run, int]:
    torch_inductor = importlib.import_module("torch._inductor")
    with torch.no_grad():
        program = _program(model, arrays, dynamic)
        path = torch_inductor.aoti_compile_and_package(
            program, package_path=f"{folder / 'compiled.pt2'}"
        )
    return native(torch_inductor.aoti_load_package(path)), Path(path).stat().st_size


def traced(model: Any, arrays: Any, dynamic: str, folder: Path) -> tuple[Run, int]:
    path = folder / "model.pt"
    with warnings.catch_warnings(action="ignore"), torch.inference_mode(False):
        torch.jit.trace(model, _tensors(arrays)).save(path)  # pyright: ignore
        return native(torch.jit.load(path)), path.stat().st_size


FORMATS = {
    "ONNX in ONNX Runtime": onnxruntime,
    "ONNX in OpenVINO": openvino,
    "torch.export": exported,
    "AOTInductor": inductor,
    "torch.jit.trace": traced,
}
