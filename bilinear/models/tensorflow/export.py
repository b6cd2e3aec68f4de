"""LiteRT files and SavedModels of a Keras B-CNN."""

import importlib
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ...data.images import Preprocessing
from ..keras.bcnn import BCNN

METADATA = "bilinear.json"
"""Metadata: in ``assets.extra`` of a SavedModel, and in the zip part of a LiteRT file."""


def write(
    model: BCNN,
    path: str,
    form: str,
    images: np.ndarray,
    preprocessing: Preprocessing | None,
    metadata: str,
) -> None:
    """Write a program for any batch size, with the size of the example `images`."""
    if form == "SavedModel":
        _write_saved_model(model, path, images, preprocessing)
        extra = Path(path, "assets.extra")
        extra.mkdir()
        (extra / METADATA).write_text(metadata, encoding="utf-8")
        return
    with tempfile.TemporaryDirectory() as folder:
        _write_saved_model(model, folder, images, preprocessing)
        data = tf.lite.TFLiteConverter.from_saved_model(folder).convert()
    Path(path).write_bytes(data)
    with zipfile.ZipFile(path, "a") as archive:  # as LiteRT's own associated files
        archive.writestr(METADATA, metadata)


def _write_saved_model(
    model: BCNN, folder: str, images: np.ndarray, preprocessing: Preprocessing | None
) -> None:
    def serve(images: Any) -> dict[str, Any]:
        if preprocessing is not None:
            scaled = tf.cast(images, tf.float32) / 255
            images = (scaled - preprocessing.mean) / preprocessing.std
        return {"logits": model(images, training=False)}

    spec = tf.TensorSpec((None, *images.shape[1:]), images.dtype, name="images")
    archive: Any = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serve", serve, input_signature=[spec])
    archive.write_out(folder, verbose=False)


def run(path: str, form: str, images: np.ndarray) -> np.ndarray:
    """The logits of an exported model."""
    if form == "SavedModel":
        loaded = tf.saved_model.load(path)  # the function has only weak references to its variables
        return loaded.serve(tf.constant(images))["logits"].numpy()
    interpreter = importlib.import_module("ai_edge_litert.interpreter").Interpreter(path)
    return interpreter.get_signature_runner()(images=images)["logits"]
