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

    Shape: images (N, H, W, 3), normalised, in the model's dtype.
    """

    def __init__(self, model: Any, framework: str) -> None:
        adapter = importlib.import_module(f"{__package__}.{framework}.framework")
        self.device: str = adapter.device()
        make = functools.partial(adapter.numpy_function, model)
        self.logits: Any = make(lambda model, images: model(images))
        self.descriptors: Any = make(lambda model, images: model.descriptors(images))
        self.stages: Any = make(_stages)


def _stages(model: Any, images: Any) -> Any:
    """The maps that the pool receives, each (N, h, w, C), descriptors and logits."""
    maps = model.pooled_maps(images)
    descriptors = model.pool(*maps)
    return maps, descriptors, model.classifier(descriptors)
