"""A file's model in JAX as functions of NumPy arrays."""

import os

import jax
import numpy as np
from flax import nnx

from .files import load


class Inference:
    """The model of a file in evaluation mode, compiled once for each shape of a batch.

    Shapes: images (N, H, W, 3), normalised, in the model's dtype -> (N, K) or (N, D).
    Raises: what `load` raises.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        definition, self._state = nnx.split(load(path))
        self.device = jax.default_backend()
        self._logits = jax.jit(lambda state, x: nnx.merge(definition, state)(x))
        self._descriptors = jax.jit(lambda state, x: nnx.merge(definition, state).descriptors(x))

    def logits(self, images: np.ndarray) -> np.ndarray:
        return np.asarray(self._logits(self._state, images))

    def descriptors(self, images: np.ndarray) -> np.ndarray:
        return np.asarray(self._descriptors(self._state, images))
