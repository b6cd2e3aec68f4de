"""A recipe and a data set in, a run out: all the pieces put together."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from .._require import require_packages
from ..contract import refuse
from ..data import Augmentation, Index, Pipeline
from ..data.images import Preprocessing
from .cache import Cache, Cached
from .engines import build
from .loop import train
from .recipes import Images, Recipe
from .run import LOGGED, Run


def fit(
    recipe: Recipe,
    framework: str,
    index: Index,
    folder: str | os.PathLike,
    *,
    resume: bool = False,
    workers: int = 0,
    save_every: int | None = None,
    cache: Cache | None = None,
    watch: Callable[[Mapping[str, Any], int], None] | None = None,
    **options: Any,
) -> Path:
    """Train the model of a recipe on the training part of a data set; the path of the best.

    The best is that of the validation part, which the index must have (`validation_split`). The
    test part is never opened. Beside what `train` writes, the folder holds the metrics as events
    of TensorBoard and as curves.

    Args:
        workers: processes that read images.
        resume, save_every, watch: as `train` has them.
        cache: keeps the maps of frozen backbones, for the phases that have them.
        options: of the engine, such as ``device="cuda"``.

    Raises: what `train` raises; ValueError for fewer than two classes; ImportError where the
        packages of ``bilinear[cli]`` are absent.
    """
    require_packages("bilinear.train.fit", ("tensorboard", "matplotlib"), "cli")
    from .curves import Curves  # noqa: PLC0415 (not before it is known that it can be imported)
    from .events import Events  # noqa: PLC0415

    if len(index.classes) < 2:
        remedy = "Name the folder that holds the folders of the classes."
        invariant = "a data set must have two classes or more"
        refuse(ValueError, "train", invariant, f"{len(index.classes)}", remedy)
    run = Run(folder)
    events, curves = Events(run, recipe), Curves(run)

    def told(event: Mapping[str, Any], seen: int) -> None:
        if event["event"] in LOGGED:
            events(event)
            curves(event)
        if watch:
            watch(event, seen)

    engine = build(framework, recipe, len(index.classes), **options)
    preprocessing = seen(recipe.images, engine.preprocessing)
    with (
        pipelines(recipe, index, preprocessing, workers) as (training, validation),
        Pipeline(index, "train", **_still(recipe, preprocessing, workers)) as still,
    ):
        kept = training if cache and cache.views else still
        best = train(
            recipe,
            engine,
            training,
            validation,
            folder,
            resume=resume,
            save_every=save_every,
            classes=index.classes,
            preprocessing=preprocessing,
            data=index.checksum(),
            cache=cache and Cached(cache, kept, validation),
            watch=told,
        )
    events.finish()
    curves.finish()
    return best


def seen(images: Images, weights: Preprocessing | None) -> Preprocessing:
    """How images become a model's input: the sizes of a recipe, the colours of the weights."""
    own = weights or Preprocessing()
    return replace(own, size=images.size, resize=images.resize, square=images.square)


@contextmanager
def pipelines(
    recipe: Recipe, index: Index, preprocessing: Preprocessing, workers: int = 0
) -> Iterator[tuple[Pipeline, Pipeline]]:
    """Batches of the training and of the validation part, as a recipe wants them."""
    images = recipe.images
    varied = Augmentation("random" if images.random_crop else "centre", flip=images.flip)
    given: Any = _still(recipe, preprocessing, workers)
    with (
        Pipeline(index, "train", **(given | {"augmentation": varied})) as training,
        Pipeline(index, "validation", **given) as validation,
    ):
        yield training, validation


def _still(recipe: Recipe, preprocessing: Preprocessing, workers: int) -> dict[str, Any]:
    """The arguments of a pipeline that shows the middle of each image, as it is."""
    return {
        "batch_size": recipe.batch_size,
        "preprocessing": preprocessing,
        "seed": recipe.seed,
        "workers": workers,
    }
