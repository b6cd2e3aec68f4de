"""Shared by the tests of training: a small model, images in memory, a short recipe."""

import atexit
import importlib
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from bilinear.data import Batch
from bilinear.train import Engine, Group, Images, Model, Phase, Recipe, Schedule, build

from .subjects import driver

CLASSES = 3
MODEL = Model("resnet18", taps=("layer1",), projection=6, weights=None, dtype="float64")


class Memory:
    """The interface of `bilinear.data.Pipeline`, on random images."""

    part = 0, 1

    def __init__(self, count: int, *, batch_size: int, seed: int, size: int = 32) -> None:
        rng = np.random.default_rng(seed)
        self.labels = rng.integers(CLASSES, size=count)
        self.labels[:CLASSES] = range(CLASSES)
        # the classes differ in color
        colors = np.eye(3)[self.labels][:, None, None]
        noise = rng.standard_normal((count, size, size, 3))
        self.images = (noise + 2 * colors).astype(np.float32)
        self.batch_size, self.seed = batch_size, seed

    @property
    def batches_per_epoch(self) -> int:
        return -(-len(self.labels) // self.batch_size)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.labels))
        for batch in range(start, self.batches_per_epoch):
            whole = order[batch * self.batch_size : (batch + 1) * self.batch_size]
            chosen = np.array_split(whole, self.part[1])[self.part[0]]
            yield Batch(self.images[chosen], self.labels[chosen], chosen)


def data(part: tuple[int, int] = (0, 1)) -> tuple[Memory, Memory]:
    """Training and validation pipelines; their last batches are smaller."""
    pipelines = Memory(11, batch_size=4, seed=1), Memory(6, batch_size=4, seed=2)
    for pipeline in pipelines:
        pipeline.part = part
    return pipelines


PHASES = (
    Phase("head", (Group("head", 0.125, 1e-3),), 2, schedule=Schedule("step", (1,), factor=0.5)),
    Phase("last", (Group("head", 0.0625), Group("last:1", 0.015625, 1e-3)), 2),
)
"""The learning rates are powers of 2: Keras' optimizers store them as float32."""


def recipe(**changes: Any) -> Recipe:
    """Train the head, then also the last block: twelve steps."""
    whole: dict[str, Any] = {"name": "test", "model": MODEL, "phases": PHASES}
    return Recipe(**(whole | {"images": Images(32), "batch_size": 4} | changes))


LINEAR_PHASES = (
    Phase("head", (Group("head", 0.5, 1e-3),), 2, schedule=Schedule("step", (1,), factor=0.5)),
    Phase("all", (Group("head", 0.1), Group("all", 0.05, 1e-3)), 3, schedule=Schedule("cosine")),
)


def linear_recipe(**changes: Any) -> Recipe:
    """The recipe of `tests.linear`: fifteen steps."""
    return recipe(**({"phases": LINEAR_PHASES} | changes))


def engine(framework: str, of: Recipe | None = None, **options: Any) -> Engine:
    driver(framework)  # sets up the framework for tests
    return build(framework, recipe() if of is None else of, CLASSES, **options)


def shared_folder() -> Path:
    """A folder for several tests, deleted when the process exits."""
    folder = tempfile.TemporaryDirectory(prefix="bilinear-runs-")
    atexit.register(folder.cleanup)
    return Path(folder.name)


def events(folder: Path, kind: str) -> list[dict[str, Any]]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == kind]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a run, except those that record its environment, options and times."""
    files = (path for path in folder.rglob("*") if path.is_file())
    there = {str(path.relative_to(folder)): path for path in files}
    excluded = ("environment", "events", "command", "images.cache")
    names = [name for name in there if not name.startswith(excluded)]
    return {name: there[name].read_bytes() for name in names}


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """In the block, writes beyond a size fail as on a full disk."""
    resource = importlib.import_module("resource")  # POSIX only
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
