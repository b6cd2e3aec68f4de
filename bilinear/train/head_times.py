"""Time of each pooling layer with its classifier, measured on this machine."""

import importlib
import time
from collections.abc import Callable
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from ..analysis.costs import POOLS, compare_costs
from ..models.framework import networks
from .parameter_groups import Plan

ROUNDS = 3
"""Fewest calls that are timed."""


class HeadTime(NamedTuple):
    """Seconds for each image, from feature maps in memory."""

    inference: float
    """Logits without gradients."""
    training: float
    """A training step of projection, layer and classifier, with SGD and momentum."""


def measure_heads(
    framework: str,
    channels: int,
    num_classes: int,
    *,
    batch_size: int = 32,
    projection: int | None = None,
    size: int = 14,
    seconds: float = 1.0,
    most: float = 2**32,
) -> list[HeadTime | None]:
    """Measure the heads of `compare_costs` on random feature maps, in float32.

    The backbone is not included. Each time is a median of at least three calls after a warm-up,
    and includes the copy of the feature maps from NumPy, as in training with cached maps.

    Args:
        framework: ``"torch"``, ``"tensorflow"`` or ``"jax"``.
        channels: number of channels C of the feature map.
        num_classes: number of classes K.
        batch_size: number of images in a batch. Default 32.
        projection: number of channels after a `Projection`; None is no projection. Default None.
        size: height and width of the feature map. Default 14, of a ResNet at 448 pixels.
        seconds: time for each of the two measurements of a head. Default 1.
        most: heads that need more bytes for training are not measured. Default 2³², 4 GiB.

    Returns:
        One entry for each entry of `POOLS`; None for a head that is not measured.

    Raises:
        ValueError for a size below 1; ImportError where the framework is not installed.
    """
    costs = compare_costs(channels, num_classes, batch_size=batch_size, projection=projection)
    engines = importlib.import_module(f"{__package__}.engines.{framework}")
    layers = networks(framework, "framework")
    rng = np.random.default_rng(0)
    shape = batch_size, size, size, channels
    maps = [np.maximum(rng.standard_normal(shape, np.float32), 0)]
    labels = rng.integers(num_classes, size=batch_size)
    found: list[HeadTime | None] = []
    for (layer, arguments), cost in zip(POOLS.values(), costs, strict=True):
        if cost.training > most:
            found.append(None)
            continue
        pool = layers.layer(layer, dtype="float32", **arguments) if arguments else layer
        backbone: Any = layers.layer("Projection", dtype="float32", channels=3, dim=channels)
        options = {"pool": pool, "projection": projection, "channels": channels}
        engine = engines.Engine(engines.BCNN(backbone, num_classes, **options))
        head = tuple(sorted(name for name in engine.learned if not name.startswith("backbone.")))
        engine.begin(Plan((head,), (0.0,), frozenset(), 0.9))
        inference = _time(lambda engine=engine: engine.head_logits(maps), seconds)
        training = _time(lambda engine=engine: engine.head_step(maps, labels, [1e-3]), seconds)
        found.append(HeadTime(inference / batch_size, training / batch_size))
    return found


def _time(call: Callable[[], object], seconds: float) -> float:
    """Return the median time of a call; the first two calls compile and allocate."""
    for _ in range(2):
        call()
    times: list[float] = []
    while len(times) < ROUNDS or sum(times) < seconds:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return median(times)
