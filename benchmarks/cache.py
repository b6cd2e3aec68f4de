"""An epoch in which the backbone is frozen: through the backbone, and from the maps that are kept.

Real JPEGs through the pipeline of training, 200 classes, the published first phase (the classifier
on all of the descriptor, SGD with momentum and decay). Both are the loop's own batches and steps,
in turn, the maps kept before; what the loop writes between epochs is in neither.
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
from bilinear.train import Cache, Group, Images, Model, Phase, Recipe, build, parts
from bilinear.train.batches import Feed, through
from bilinear.train.cache import Cached

from .calls import CLASSES
from .data import photographs
from .measure import Spread, alternating, apart, ratios
from .report import spread, table

PHASE = Phase("classifier", (Group("head", 1.0, 1e-8),), 55)
BATCHES = 1
"""In an epoch: what a longer one takes is a multiple of it."""


class Epoch(NamedTuple):
    backbone: str
    pixels: int
    batch: int
    classes: int = CLASSES

    def __str__(self) -> str:
        return f"{self.backbone}, {self.batch} × {self.pixels} × {self.pixels}"


def measured(framework: str, epoch: Epoch, seconds: float, threads: int) -> dict:
    """The row of one framework, in this process."""
    importlib.import_module(f"{__package__}.{framework}").threads(threads)
    return row(framework, epoch, seconds)


def row(framework: str, epoch: Epoch, seconds: float) -> dict:
    """Milliseconds an image of either, and of reading the maps alone; and the ratio."""
    with tempfile.TemporaryDirectory() as folder:
        feeds = _feeds(framework, epoch, Path(folder))
        runs: dict[str, Callable[[], object]] = {name: _of(feed) for name, feed in feeds.items()}
        runs["reading"] = lambda: [*feeds["kept"].training.epoch(0)]
        times = alternating(runs, seconds, rounds=(3, 40))
    print(".", end="", flush=True, file=sys.stderr)
    images = BATCHES * epoch.batch
    return {
        "framework": importlib.import_module(f"{__package__}.{framework}").VERSION,
        "network": str(epoch),
        "milliseconds": {name: 1e3 * Spread.of(t).median / images for name, t in times.items()},
        "ratio": ratios(times, "through", "kept"),
        "rounds": len(times["kept"]),
    }


def _feeds(framework: str, epoch: Epoch, folder: Path) -> dict[str, Feed]:
    """What the loop has in either case, on an engine at the beginning of the phase."""
    model = Model(epoch.backbone, weights=None)
    recipe = Recipe("benchmark", model, (PHASE,), Images(epoch.pixels), batch_size=epoch.batch)
    engine = build(framework, recipe, epoch.classes)
    plan = parts.plan(PHASE, engine.streams, list(engine.tensors()), engine.learned)
    engine.begin(plan)
    (folder / "photographs").mkdir()
    index = photographs(folder / "photographs", BATCHES * epoch.batch, 640, 480)
    given: Any = {"batch_size": epoch.batch, "preprocessing": Preprocessing(epoch.pixels)}
    training = Pipeline(index, "train", augmentation=Augmentation(), **given)
    same = replace(index, items=tuple(i._replace(split="validation") for i in index.items))
    validation = Pipeline(same, "validation", **given)
    kept = Cached(Cache(folder / "maps", views=1), training, validation).of(engine, PHASE, 0)
    return {
        "through": through(engine, training, validation),
        "kept": kept.feed(lambda *_: None, lambda: None),
    }


def _of(feed: Feed) -> Callable[[], list[float]]:
    rates = [group.rate for group in PHASE.groups]
    return lambda: [feed.step(batch, rates) for batch in feed.training.epoch(0)]


def section(given: argparse.Namespace) -> list[dict]:
    backbones = ("resnet18",) if given.quick else ("vgg16", "resnet18")
    epochs = [Epoch(backbone, given.pixels or 448, given.batch) for backbone in backbones]
    how = given.seconds, given.threads
    pairs = [(framework, epoch) for framework in given.framework for epoch in epochs]
    return [apart(measured, *pair, *how) for pair in pairs]


def tables(found: list[dict]) -> list[str]:
    head = ("framework", "network, images", "through, ms an image", "kept, ms", "of which reading")
    lines = []
    for row in found:
        times = [f"{row['milliseconds'][who]:.1f}" for who in ("through", "kept", "reading")]
        lines.append([row["framework"], row["network"], *times, spread(*row["ratio"])])
    return table((*head, "through ÷ kept"), lines)
