"""The time of a run, estimated before it starts."""

import os
import time

import numpy as np

from ..data import Pipeline
from ..data.images import normalize
from .engines import Engine
from .recipes import Phase, Recipe

READ = 4
"""Images whose reading is timed."""


def estimate_seconds(
    recipe: Recipe, engine: Engine, training: Pipeline, validation: Pipeline, workers: int
) -> float:
    """The time of all epochs, if reading and computing images takes as long as for a few of them.

    A frozen backbone computes forward only. Training it takes three times as long, because the
    backward pass has twice the operations. The first call may include compilation.
    """
    started = time.perf_counter()
    places = training.indices[:READ]
    items = training.index.items
    pixels = np.stack([training.decoder(items[i], 0, int(i)) for i in places])
    read = (time.perf_counter() - started) / len(places) / max(min(workers, os.cpu_count() or 1), 1)
    batch = min(validation.batch_size, len(validation.indices))
    shape = batch, *pixels.shape[1:]
    images = normalize(np.resize(pixels, shape), training.decoder.preprocessing)
    first, second = (_seconds(engine, images) for _ in range(2))
    forward, compilation = second / batch, max(first - second, 0.0)
    counts = len(training.indices), len(validation.indices)
    total = 0.0
    for phase in recipe.phases:
        times = read + passes(phase) * forward, read + forward
        total += phase.epochs * np.dot(counts, times) + passes(phase) * compilation
    return float(total)


def _seconds(engine: Engine, images: np.ndarray) -> float:
    started = time.perf_counter()
    engine.evaluate(images)
    return time.perf_counter() - started


def passes(phase: Phase) -> int:
    """The time of a training image, in that of a forward pass."""
    return 1 if all(group.parameters == "head" for group in phase.groups) else 3
