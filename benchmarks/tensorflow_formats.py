"""The formats for deployment that TensorFlow exports."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from . import keras_formats

Run = Callable[..., np.ndarray]
build = keras_formats.build


def native(model: keras.Model) -> Run:
    call = tf.function(lambda x, *more: model([x, *more] if more else x, training=False))
    return lambda *arrays: call(*map(tf.constant, arrays)).numpy()


def _write(model: keras.Model, arrays: Any, dynamic: str, folder: Path) -> str:
    """Write a SavedModel."""
    shapes = {"batch and size": (None,) * 3, "batch": (None, *arrays[0].shape[1:3])}
    shape = shapes.get(dynamic, arrays[0].shape[:3])
    names = ["x", "y"][: len(arrays)]
    channels = [x.shape[3] for x in arrays]
    pairs = zip(channels, names, strict=True)
    specs = [tf.TensorSpec((*shape, c), tf.float32, name=name) for c, name in pairs]

    def of_one(x: Any) -> dict[str, Any]:
        return {"result": model(x, training=False)}

    def of_two(x: Any, y: Any) -> dict[str, Any]:
        return {"result": model([x, y], training=False)}

    serve: Any = of_two if len(arrays) == 2 else of_one
    archive: Any = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serve", serve, input_signature=specs)
    path = f"{folder / 'saved'}"
    archive.write_out(path, verbose=False)
    return path


def saved_model(model: Any, arrays: Any, dynamic: str, folder: Path) -> tuple[Run, int]:
    path = _write(model, arrays, dynamic, folder)
    loaded = tf.saved_model.load(path)
    size = sum(file.stat().st_size for file in Path(path).rglob("*") if file.is_file())
    return lambda *arrays: loaded.serve(*map(tf.constant, arrays))["result"].numpy(), size


def litert(model: Any, arrays: Any, dynamic: str, folder: Path) -> tuple[Run, int]:
    path = _write(model, arrays, dynamic, folder)
    data = tf.lite.TFLiteConverter.from_saved_model(path).convert()
    module = importlib.import_module("ai_edge_litert.interpreter")
    runner = module.Interpreter(model_content=data).get_signature_runner()

    def run(*arrays: np.ndarray) -> np.ndarray:
        return runner(**dict(zip("xy", arrays, strict=False)))["result"]

    return run, len(data)


FORMATS = {"SavedModel": saved_model, "LiteRT": litert}
