"""A loaded model as functions of NumPy arrays, alike in every framework."""

import functools
import importlib
from typing import Any


class Inference:
    """A `BCNN` in evaluation mode, on the GPU where there is one.

    JAX and TensorFlow compile once for each shape of a batch.

    Args:
        model: a `BCNN` in evaluation mode, as `load` gives it.
        framework: the name of its namespace, such as ``"torch"``.

    Shape: images (N, H, W, 3), normalized, in the model's dtype.
    """

    def __init__(self, model: Any, framework: str) -> None:
        adapter = importlib.import_module(f"{__package__}.{framework}.framework")
        self.device: str = adapter.device()
        make = functools.partial(adapter.numpy_function, model)
        self.logits: Any = make(lambda model, images: model(images))
        self.descriptors: Any = make(lambda model, images: model.descriptors(images))
        self.stages: Any = make(_stages)
        self._make, self._gradients = make, adapter.gradients

    def gradients(self, images: Any, index: int) -> Any:
        """The maps that the pool receives, the gradients of logit `index` by them, the logits."""

        def logits(model: Any, maps: Any) -> Any:
            pooled = model.pool(*maps)
            return pooled if model.classifier is None else model.classifier(pooled)

        def compute(model: Any, images: Any) -> Any:
            maps = model.pooled_maps(images)
            slopes = self._gradients(lambda *maps: logits(model, maps)[:, index], maps)
            return maps, slopes, logits(model, maps)

        return self._make(compute)(images)


def _stages(model: Any, images: Any) -> Any:
    """The maps that the pool receives, each (N, h, w, C), descriptors and logits."""
    maps = model.pooled_maps(images)
    descriptors = model.pool(*maps)
    return maps, descriptors, model.classifier(descriptors)
