"""A file's model in TensorFlow as functions of NumPy arrays."""

import os

import numpy as np
import tensorflow as tf

from .files import load


class Inference:
    """The model of a file in evaluation mode, traced once for each shape of a batch.

    Shapes: images (N, H, W, 3), normalised, in the model's dtype -> (N, K) or (N, D).
    Raises: what `load` raises.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        model = load(path)
        self.device = "gpu" if tf.config.list_logical_devices("GPU") else "cpu"
        self._logits = tf.function(lambda images: model(images, training=False))
        self._descriptors = tf.function(lambda images: model.descriptors(images, training=False))

    def logits(self, images: np.ndarray) -> np.ndarray:
        return self._logits(tf.constant(images)).numpy()

    def descriptors(self, images: np.ndarray) -> np.ndarray:
        return self._descriptors(tf.constant(images)).numpy()
