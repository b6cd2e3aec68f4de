"""A file's model in PyTorch as functions of NumPy arrays."""

import os

import numpy as np
import torch

from .bcnn import as_array, as_tensor
from .files import load


class Inference:
    """The model of a file in evaluation mode, on the GPU where there is one.

    Shapes: images (N, H, W, 3), normalised, in the model's dtype -> (N, K) or (N, D).
    Raises: what `load` raises.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self._model = load(path).to(self.device)

    def logits(self, images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return as_array(self._model(self._taken(images)))

    def descriptors(self, images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return as_array(self._model.descriptors(self._taken(images)))

    def _taken(self, images: np.ndarray) -> torch.Tensor:
        return as_tensor(images).to(self.device).movedim(-1, 1)
