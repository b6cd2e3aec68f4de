"""A loaded model as functions of NumPy arrays, alike in every framework."""

import importlib
from typing import Any

import numpy as np


class Inference:
    """A `BCNN` in evaluation mode, on the GPU where there is one.

    JAX and TensorFlow compile once for each shape of a batch.

    Args:
        model: a `BCNN` in evaluation mode, as `load` gives it.
        framework: the name of its namespace, such as ``"torch"``.

    Shape: images (N, H, W, 3), normalised, in the model's dtype.
    """

    def __init__(self, model: Any, framework: str) -> None:
        adapter = importlib.import_module(f"{__package__}.{framework}.framework")
        self.device: str = adapter.device()
        self._logits = adapter.numpy_function(model, lambda model, images: model(images))
        self._descriptors = adapter.numpy_function(
            model, lambda model, images: model.descriptors(images)
        )
        self._stages = adapter.numpy_function(model, _stages)

    def logits(self, images: np.ndarray) -> np.ndarray:
        """Return the logits, (N, num_classes)."""
        return self._logits(images)

    def descriptors(self, images: np.ndarray) -> np.ndarray:
        """Return the descriptors, (N, D)."""
        return self._descriptors(images)

    def stages(self, images: np.ndarray) -> tuple[tuple[np.ndarray, ...], np.ndarray, np.ndarray]:
        """Return the maps that the pool receives, each (N, h, w, C), descriptors and logits."""
        return self._stages(images)


def _stages(model: Any, images: Any) -> Any:
    maps = model.pooled_maps(images)
    descriptors = model.pool(*maps)
    return maps, descriptors, model.classifier(descriptors)
