"""What the loop asks of a framework, and where each framework answers."""

import importlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from ..._require import BACKENDS
from ...contract import refuse
from ...data.images import Preprocessing
from ...models.streams import Streams
from ..parts import Plan
from ..recipes import Recipe


class Engine(Protocol):
    """A model in training. Arrays are NumPy's: images channels last, tensors canonical.

    What is given and taken is copied: nothing that an engine does later changes it.
    """

    streams: Streams
    num_classes: int
    preprocessing: Preprocessing | None
    """Of the images that the weights are of, where they come from somewhere."""
    learned: frozenset[str]
    """The canonical names of all parameters, trained or not."""

    def tensors(self) -> dict[str, np.ndarray]:
        """Every canonical tensor: parameters, statistics, tables."""
        ...

    def assign(self, tensors: Mapping[str, np.ndarray]) -> None: ...

    def begin(self, plan: Plan) -> None:
        """From now on train as `plan` says, with buffers of 0."""
        ...

    def buffers(self) -> dict[str, np.ndarray]:
        """The momentum of what trains, by canonical name; none before the first step."""
        ...

    def assign_buffers(self, buffers: Mapping[str, np.ndarray]) -> None: ...

    def train_step(self, images: np.ndarray, labels: np.ndarray, rates: Sequence[float]) -> float:
        """One step on the mean cross-entropy, at the rate of each group; returns the loss."""
        ...

    def evaluate(self, images: np.ndarray) -> np.ndarray:
        """The logits in evaluation mode, as float32 or float64."""
        ...

    def maps(self, images: np.ndarray) -> tuple[np.ndarray, ...]:
        """The feature maps of all streams in evaluation mode, channels last.

        A phase that leaves the backbones as they are sees these very maps in each of its steps.
        """
        ...

    def head_step(
        self, maps: Sequence[np.ndarray], labels: np.ndarray, rates: Sequence[float]
    ) -> float:
        """`train_step` from such maps on; no backbone may be among what trains."""
        ...

    def head_logits(self, maps: Sequence[np.ndarray]) -> np.ndarray:
        """`evaluate` from such maps on."""
        ...

    def save(
        self, path: str, *, classes: Sequence[str] | None, preprocessing: Preprocessing | None
    ) -> None:
        """The portable file."""
        ...

    def environment(self) -> dict[str, Any]:
        """What of the framework, its version, device and settings decides the numbers, as JSON
        has it."""
        ...


def build(framework: str, recipe: Recipe, num_classes: int, **options: Any) -> Engine:
    """The engine of ``"torch"``, ``"tensorflow"`` or ``"jax"`` on the model of a recipe.

    Args:
        options: those of the engine, such as ``compile=True``.

    Raises: ImportError where the framework is missing, ValueError for another name.
    """
    if framework not in BACKENDS:
        known = ", ".join(map(repr, BACKENDS))
        refuse(
            ValueError, "train", f"framework must be one of {known}", repr(framework), "Name it."
        )
    module = importlib.import_module(f"{__name__}.{framework}")
    model = recipe.model
    network = module.BCNN(
        model.backbone,
        num_classes,
        backbone_b=model.backbone_b,
        pool=model.pool,
        projection=model.projection,
        taps=model.taps,
        weights=model.weights,
        seed=recipe.seed,
        dtype=model.dtype,
    )
    return module.Engine(network, **options)
