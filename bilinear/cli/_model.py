"""One way to a model in any framework: NumPy arrays in and out, batches of one shape."""

import importlib
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np

from .._require import BACKENDS, available
from ..contract import refuse
from ..models.checkpoint import read_description
from ..models.plans import DTYPES
from ._console import say


class Model:
    """The model of a file in a framework, for batches of up to `batch_size` images.

    Each batch is filled up to `batch_size`, so that compilers meet one shape only.
    """

    def __init__(self, path: Path, framework: str | None, batch_size: int) -> None:
        self.description = read_description(path)
        if self.description.preprocessing is None:
            remedy = "Save it once more by save(model, path, preprocessing=Preprocessing(...))."
            invariant = "the file must say how images are prepared"
            refuse(ValueError, f"load {path}", invariant, "a file without preprocessing", remedy)
        self.preprocessing = self.description.preprocessing
        numbers = map(str, range(self.description.num_classes))
        self.classes = self.description.classes or tuple(numbers)
        self.batch_size = batch_size
        framework = chosen(framework)
        importlib.import_module(f"bilinear.{framework}")  # says it if the framework is missing
        module = importlib.import_module(f"bilinear.models.{framework}.inference")
        self._inference = module.Inference(path)
        self.framework = named(framework)
        self.device = self._inference.device
        say(f"{path} in {self.framework} on {self.device}")

    def logits(self, images: np.ndarray) -> np.ndarray:
        """(N, H, W, 3) -> (N, K), float32 or float64."""
        return self._in_batches(self._inference.logits, images)

    def descriptors(self, images: np.ndarray) -> np.ndarray:
        """(N, H, W, 3) -> (N, D), float32 or float64."""
        return self._in_batches(self._inference.descriptors, images)

    def _in_batches(self, call: Callable[[np.ndarray], np.ndarray], images: np.ndarray):
        count = len(images)
        filling = np.repeat(images[-1:], self.batch_size - count, 0)
        batch = np.concatenate([images, filling]).astype(DTYPES[self.description.dtype])
        result = call(batch)[:count]
        return result if result.dtype == np.float64 else result.astype(np.float32)


def chosen(framework: str | None) -> str:
    """The framework asked for, or the first that is installed.

    Raises: ValueError for another name; ImportError where none is installed.
    """
    if framework is None:
        present = [name for name in BACKENDS if available(name)]
        if not present:
            remedy = "Install one, such as pip install 'bilinear[torch]'."
            refuse(ImportError, "bilinear", "a model needs a framework", "none installed", remedy)
        return present[0]
    if framework not in BACKENDS:
        invariant = f"--framework must be one of {', '.join(BACKENDS)}"
        remedy = "Without it the first that is installed is used."
        refuse(ValueError, "bilinear", invariant, repr(framework), remedy)
    return framework


def named(framework: str) -> str:
    """A framework with its version."""
    return f"{framework} {version(BACKENDS[framework][0][0])}"
