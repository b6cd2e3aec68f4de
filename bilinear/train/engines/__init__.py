"""The interface between the training loop and a framework; one module implements it for each."""

import dataclasses
import importlib
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any, Protocol

import numpy as np

from ..._require import BACKENDS
from ...contract import refuse
from ...data.images import Preprocessing
from ...models.import_path import check_import_allowed, import_backbone, is_import_path
from ...models.pools import describe_pool, has_unit_length
from ...models.streams import STREAMS, Streams
from ..parameter_groups import Plan
from ..processes import Processes
from ..recipes import Recipe


class Engine(Protocol):
    """A model in training.

    Arrays are NumPy arrays: images and feature maps channels last, tensors in the canonical
    layout. They are copied in both directions: later changes on either side have no effect.
    """

    streams: Streams
    num_classes: int
    preprocessing: Preprocessing | None
    """The one that the pretrained weights expect, None without pretrained weights."""
    learned: frozenset[str]
    """Canonical names of all parameters, frozen ones included."""
    processes: Processes
    """Every one has an engine of equal tensors and gives it a part of each batch. They call each
    method together, except `maps` and `environment`, because tensors may be sharded over them."""

    def tensors(self) -> dict[str, np.ndarray]:
        """Every canonical tensor: parameters, statistics and tables."""
        ...

    def assign(self, tensors: Mapping[str, np.ndarray]) -> None: ...

    def begin(self, plan: Plan) -> None:
        """Start a phase: train as `plan` says, with a new optimizer."""
        ...

    def buffers(self) -> dict[str, np.ndarray]:
        """The state of the optimizer by ``KIND.NAME``, with the canonical name of a parameter.

        The kinds are ``momentum`` of SGD, ``exp_avg``, ``exp_avg_sq`` and ``step`` (the number of
        updates, a scalar) of AdamW, and ``average`` of `average`. It may be empty before the first
        step.
        """
        ...

    def assign_buffers(self, buffers: Mapping[str, np.ndarray]) -> None: ...

    def train_step(
        self, images: np.ndarray, labels: np.ndarray, rates: Sequence[float]
    ) -> tuple[float, int]:
        """Minimise the loss of the plan, at the learning rate of each group.

        Images and labels are those of this process, maybe none; the update is that of the batch of
        all processes, which call it together.

        Returns: the loss of that batch, and its number of images whose largest logit, the first of
        equal ones, is that of their label, both before the update and in training mode.
        """
        ...

    def average(self, names: Sequence[str], decay: float) -> None:
        """Update the averages of tensors: ``average ← average + (1 − decay) (tensor − average)``.

        The decay 0 starts them in a new phase. The step does not use them.
        """
        ...

    def evaluate(self, images: np.ndarray) -> np.ndarray:
        """The logits in evaluation mode, float32 or float64.

        The images are those of this process, maybe none.
        """
        ...

    def maps(self, images: np.ndarray) -> tuple[np.ndarray, ...]:
        """The feature maps of all streams in evaluation mode: the input of `head_step`."""
        ...

    def head_step(
        self, maps: Sequence[np.ndarray], labels: np.ndarray, rates: Sequence[float]
    ) -> tuple[float, int]:
        """`train_step` on feature maps; the plan must leave the backbones frozen."""
        ...

    def head_logits(self, maps: Sequence[np.ndarray]) -> np.ndarray:
        """`evaluate` on feature maps."""
        ...

    def save(
        self, path: str, *, classes: Sequence[str] | None, preprocessing: Preprocessing | None
    ) -> None:
        """Write the portable file, in process 0."""
        ...

    def environment(self) -> dict[str, Any]:
        """Framework, version, device and settings that affect the results, as JSON."""
        ...


def build(
    framework: str, recipe: Recipe, num_classes: int, *, allow_import: bool = False, **options: Any
) -> Engine:
    """An engine on a new model of a recipe.

    Args:
        framework: ``"torch"``, ``"tensorflow"`` or ``"jax"``.
        recipe: gives the arguments of `BCNN` and its seed.
        num_classes: of the classifier.
        allow_import: import custom backbones of the recipe, which runs the code of their modules.
            Files have the import paths as their names. Default: False.
        options: of the engine, such as ``compile=True``, or ``devices=8`` in TensorFlow and JAX.

    Raises: ImportError where the framework or the module of a backbone cannot be imported;
        ValueError for another name, for a custom backbone without `allow_import`, for a classifier
        to shard over one process, and where the weights have a pool whose learning rates are not
        those of the recipe.
    """
    if framework not in BACKENDS:
        known = ", ".join(map(repr, BACKENDS))
        invariant, remedy = f"framework must be one of {known}", "Choose one of them."
        refuse(ValueError, "train", invariant, repr(framework), remedy)
    alone = (options.get("processes") or Processes()).count == 1
    if framework == "torch" and options.get("shard_classifier") and alone:
        invariant = "--shard-classifier (shard_classifier=True) needs several processes"
        remedy = "Start them with torchrun, or leave it out."
        refuse(ValueError, "train", invariant, "one process", remedy)
    arguments = dataclasses.asdict(recipe.model)
    names = tuple(arguments[key] for key in STREAMS)
    check_import_allowed("train", allow_import, *names)
    module = importlib.import_module(f"{__name__}.{framework}")
    for key in (key for key in STREAMS if is_import_path(arguments[key])):
        arguments[key] = import_backbone("train", arguments[key], module.BCNN._framework)
        options = {"name": names} | options
    with getattr(module, "scope", nullcontext)(options):  # takes the options about devices
        network = module.BCNN(arguments.pop("backbone"), num_classes, **arguments, seed=recipe.seed)
    pool = describe_pool("train", network.pool)
    if has_unit_length(pool) != recipe.has_unit_length:
        invariant = "model.pool must be given, because learning rates depend on it"
        remedy = f"Use --set model.pool={pool['name']}."
        refuse(ValueError, "train", invariant, f"weights with {pool['name']}", remedy)
    return module.Engine(network, **options)
