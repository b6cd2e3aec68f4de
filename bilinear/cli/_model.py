"""A model in any framework with NumPy inputs and outputs and one batch shape."""

import importlib
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from .._files import file_checksum
from .._require import BACKENDS, available
from ..analysis.descriptors import Rows, open_descriptors
from ..contract import refuse
from ..data.images import Preprocessing
from ..models.checkpoint import read_description
from ..models.description import Description
from ..models.inference import Inference
from ..models.plans import DTYPES
from ._console import say


class Model:
    """A file's model; batches are padded to `batch_size`, so that a compiler sees one shape."""

    def __init__(
        self, path: Path, framework: str | None, batch_size: int, allow_import: bool = False
    ) -> None:
        self.path = path
        self.description = read_description(path)
        self.preprocessing = preprocessing_of(self.description, f"load {path}")
        numbers = map(str, range(self.description.num_classes))
        self.classes = self.description.classes or tuple(numbers)
        self.batch_size = batch_size
        framework = select_framework(framework or self.description.framework)
        model = load(path, framework, allow_import)
        check_described(path, model, self.description)
        self._inference = Inference(model, framework)
        self.framework = name_and_version(framework)
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
        padding = np.repeat(images[-1:], self.batch_size - count, 0)
        batch = np.concatenate([images, padding]).astype(DTYPES[self.description.dtype])
        result = call(batch)[:count]
        require_finite(self.path, result)
        return result if result.dtype == np.float64 else result.astype(np.float32)


def load(path: Path, framework: str, allow_import: bool = False) -> Any:
    """The model of a file in a framework."""
    return importlib.import_module(f"bilinear.{framework}").load(path, allow_import=allow_import)


def open_rows(op: str, source: Path, file: Path) -> tuple[np.ndarray, Rows]:
    """Open a file of descriptors that are not reduced.

    Raises: ValueError for others, or unless the model of `file` computed them.
    """
    if source.is_dir():
        invariant = f"{source} must be one file of descriptors"
        refuse(ValueError, op, invariant, "a folder", "Write the descriptors without --shard.")
    descriptors, rows = open_descriptors(source)
    check_source(op, source, rows, file)
    if rows.reduction:
        invariant = f"{source} must contain the descriptors of the model itself"
        remedy = "Write them without --reduce."
        refuse(ValueError, op, invariant, "reduced descriptors", remedy)
    return descriptors, rows


def check_source(op: str, source: Path, rows: Rows, file: Path) -> None:
    """Raise ValueError unless the model of `file` computed the descriptors in `source`."""
    if file_checksum(file) != rows.sha256:
        remedy = "Use that model, or write the descriptors again."
        invariant = f"{source} must contain descriptors of {file}"
        refuse(ValueError, op, invariant, f"descriptors of {rows.model}", remedy)


def check_described(path: Path, model: Any, description: Description) -> None:
    """ValueError if the file was replaced between the reading of its description and `load`."""
    for name in ("num_classes", "classes", "preprocessing"):
        found, expected = getattr(model, name), getattr(description, name)
        if found != expected:
            invariant = f"the file must not be replaced while it is read: {name} was {expected}"
            refuse(ValueError, f"load {path}", invariant, f"{found}", "Run the command again.")


def require_finite(path: Path, *results: np.ndarray) -> None:
    """Refuse results of a model that are not finite. Raises: ValueError that names the file."""
    if not all(np.isfinite(array).all() for array in results):
        remedy = "Activations may overflow in the model's dtype; check the preprocessing too."
        refuse(ValueError, f"{path}", "the results must be finite", "NaN or an infinity", remedy)


def preprocessing_of(description: Description, op: str) -> Preprocessing:
    """Return the preprocessing of a model file. Raises: ValueError if the file has none."""
    if description.preprocessing is None:
        remedy = "Save the model with save(model, path, preprocessing=Preprocessing(...))."
        invariant = "the file must contain the preprocessing of images"
        refuse(ValueError, op, invariant, "none", remedy)
    return description.preprocessing


def select_framework(framework: str | None) -> str:
    """Return the requested framework, or the first one installed if it is None."""
    if framework is None:
        present = [name for name in BACKENDS if available(name)]
        if not present:
            remedy = "Install one, for example with pip install 'bilinear[torch]'."
            refuse(ImportError, "bilinear", "a framework must be installed", "none", remedy)
        return present[0]
    if framework not in BACKENDS:
        invariant = f"--framework must be one of {', '.join(BACKENDS)}"
        remedy = "If it is left out, the first installed framework is used."
        refuse(ValueError, "bilinear", invariant, repr(framework), remedy)
    return framework


def name_and_version(framework: str) -> str:
    """The name of a framework with its installed version."""
    return f"{framework} {version(BACKENDS[framework][0][0])}"
