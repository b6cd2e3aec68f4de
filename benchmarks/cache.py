"""An epoch with a frozen backbone: computed, and read from cached feature maps.

JPEG files, the training pipeline, 200 classes and the published first phase: the classifier on the
full descriptor, SGD with momentum and weight decay. Both epochs use the batches and steps of the
training loop and run in turn, with the cache filled before. Files that the loop writes between
epochs are not included.
"""

import argparse
import importlib
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from bilinear.data import Augmentation, Pipeline
from bilinear.data.images import Preprocessing
from bilinear.train import Cache, Group, Images, Model, Phase, Recipe, build
from bilinear.train.batches import Feed, image_feed
from bilinear.train.feature_cache import PipelineCache
from bilinear.train.parameter_groups import make_plan

from .calls import CLASSES
from .data import photographs
from .measure import Spread, in_new_process, ratios, time_in_turn
from .report import spread, table

RATE = 1.0
PHASE = Phase("classifier", (Group("head", RATE, 1e-8),), 55)
BATCHES = 1
"""Batches in an epoch. The time of a longer epoch is proportional."""


class Epoch(NamedTuple):
    backbone: str
    pixels: int
    batch: int
    classes: int = CLASSES

    def __str__(self) -> str:
        return f"{self.backbone}, {self.batch} × {self.pixels} × {self.pixels}"


def measure(framework: str, epoch: Epoch, seconds: float, threads: int) -> dict:
    """Measure the row of one framework, in this process."""
    importlib.import_module(f"{__package__}.{framework}").threads(threads)
    return row(framework, epoch, seconds)


def row(framework: str, epoch: Epoch, seconds: float) -> dict:
    """Milliseconds per image of both epochs and of reading the cache, and the ratio."""
    with tempfile.TemporaryDirectory() as folder:
        feeds = _feeds(framework, epoch, Path(folder))
        runs: dict[str, Callable[[], object]] = {
            name: _epoch_of(feed) for name, feed in feeds.items()
        }
        runs["reading"] = lambda: [*feeds["cached"].training.epoch(0)]
        times = time_in_turn(runs, seconds, rounds=(3, 40))
    print(".", end="", flush=True, file=sys.stderr)
    images = BATCHES * epoch.batch
    return {
        "framework": importlib.import_module(f"{__package__}.{framework}").VERSION,
        "network": str(epoch),
        "milliseconds": {name: 1e3 * Spread.of(t).median / images for name, t in times.items()},
        "ratio": ratios(times, "computed", "cached"),
        "rounds": len(times["cached"]),
    }


def _feeds(framework: str, epoch: Epoch, folder: Path) -> dict[str, Feed]:
    """The feeds of the training loop in both cases, at the beginning of the phase."""
    model = Model(epoch.backbone, weights=None)
    recipe = Recipe("benchmark", model, (PHASE,), Images(epoch.pixels), batch_size=epoch.batch)
    engine = build(framework, recipe, epoch.classes)
    plan = make_plan(PHASE, engine.streams, list(engine.tensors()), engine.learned)
    engine.begin(plan)
    (folder / "photographs").mkdir()
    index = photographs(folder / "photographs", BATCHES * epoch.batch, 640, 480)
    given: Any = {"batch_size": epoch.batch, "preprocessing": Preprocessing(epoch.pixels)}
    training = Pipeline(index, "train", augmentation=Augmentation(), **given)
    same = replace(index, items=tuple(i._replace(split="validation") for i in index.items))
    validation = Pipeline(same, "validation", **given)
    cached = PipelineCache(Cache(folder / "maps", views=1), training, validation).for_phase(
        engine, PHASE, 0
    )
    return {
        "computed": image_feed(engine, training, validation),
        "cached": cached.feed(lambda *_: None, lambda: None),
    }


def _epoch_of(feed: Feed) -> Callable[[], list[tuple[float, int]]]:
    return lambda: [feed.step(batch, [RATE]) for batch in feed.training.epoch(0)]


def section(given: argparse.Namespace) -> list[dict]:
    backbones = ("resnet18",) if given.quick else ("vgg16", "resnet18")
    epochs = [Epoch(backbone, given.pixels or 448, given.batch) for backbone in backbones]
    how = given.seconds, given.threads
    pairs = [(framework, epoch) for framework in given.framework for epoch in epochs]
    return [in_new_process(measure, *pair, *how) for pair in pairs]


def tables(found: list[dict]) -> list[str]:
    head = ("framework", "network, images", "computed, ms/image", "cached, ms", "of which reading")
    lines = []
    for row in found:
        times = [f"{row['milliseconds'][who]:.1f}" for who in ("computed", "cached", "reading")]
        lines.append([row["framework"], row["network"], *times, spread(*row["ratio"])])
    return table((*head, "computed ÷ cached"), lines)
