"""The format for deployment that Keras exports, on the backend of the process."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

import bilinear.keras

Run = Callable[..., np.ndarray]


def build(case: Any) -> keras.Model:
    made = getattr(bilinear.keras, case.name)(**case.parameters)
    if case.name == "BCNN":
        return made
    channels = case.parameters.get("channels", 6)
    each = channels if isinstance(channels, list) else [channels] * case.streams
    maps = [keras.Input((None, None, c)) for c in each]
    return keras.Model(maps, made(*maps))


def native(model: keras.Model) -> Run:
    return lambda *arrays: model.predict_on_batch(_inputs(arrays))


def _inputs(each: Any) -> Any:
    """What Keras takes for one input or several."""
    return each[0] if len(each) == 1 else list(each)


def onnx(model: Any, arrays: Any, dynamic: str, folder: Path) -> tuple[Run, int]:
    shapes = {"batch and size": (None,) * 3, "batch": (None, *arrays[0].shape[1:3])}
    shape = shapes.get(dynamic, arrays[0].shape[:3])
    pairs = zip(arrays, "xy", strict=False)
    specs = [keras.InputSpec("float32", (*shape, x.shape[3]), name=name) for x, name in pairs]
    path = folder / "model.onnx"
    signature: Any = [_inputs(specs)]
    model.export(str(path), "onnx", verbose=False, input_signature=signature)
    session = importlib.import_module("onnxruntime").InferenceSession(path)
    names = [node.name for node in session.get_inputs()]

    def run(*arrays: np.ndarray) -> np.ndarray:
        return session.run(None, dict(zip(names, arrays, strict=True)))[0]

    return run, path.stat().st_size


BACKENDS = "TensorFlow", "JAX", "PyTorch"
FORMATS = {f"ONNX of Keras on {name}": onnx for name in BACKENDS}
