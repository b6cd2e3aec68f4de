"""Train a recipe on a data set: build the engine, open the pipelines, run the loop."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from .._files import check_outputs
from .._require import require_packages
from ..contract import refuse
from ..data import Augmentation, Index, Pipeline
from ..data.augment import LARGEST
from ..data.images import Preprocessing
from ..models.import_path import is_import_path
from ..models.plans import IN_CHANNELS
from ..models.weights import convert_preprocessing
from .checksums import ImageFiles
from .engines import build
from .estimate import estimate_seconds
from .events import Event, Metric, TimeEstimated
from .feature_cache import Cache, PipelineCache
from .loop import train
from .processes import Processes
from .recipes import Images, Recipe
from .run import Run
from .trackers import check_trackers, open_trackers


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
    estimate: bool = False,
    allow_import: bool = False,
    trackers: Sequence[str] = (),
    watch: Callable[[Event, int], None] | None = None,
    processes: Processes | None = None,
    **options: Any,
) -> Path:
    """Train the model of a recipe on the training split of a data set.

    The test split is never opened. Besides the files of `train`, the folder contains the metrics as
    TensorBoard events and as curves.

    Args:
        recipe: what to train.
        framework: ``"torch"``, ``"tensorflow"`` or ``"jax"``.
        index: a data set of two classes or more, with a validation split (`validation_split`).
        folder: of the run.
        workers: processes that decode images. Default: 0, none.
        resume, save_every, watch: as in `train`.
        cache: store the feature maps of frozen backbones. Default: None.
        estimate: before the run, time a few images, for the event `TimeEstimated`. Default: False.
        allow_import: import custom backbones of the recipe, which runs the code of their modules.
            Default: False.
        trackers: also log to ``"wandb"`` or ``"mlflow"``, see `bilinear.train.trackers`. Default:
            none.
        processes: those of `bilinear.train.join`, which all call this function. Process 0 alone
            uses `folder`; the others need the data set and the folder of the cache. Default: one.
        options: of the engine, such as ``device="cuda"``.

    Returns: the path of the best model, by validation.

    Raises: the errors of `train`; ValueError for fewer than two classes, or if a file of the run is
        one of the images or the initial weights; ImportError if the
        packages of ``bilinear[cli]`` are not installed.
    """
    require_packages("bilinear.train.fit", ("tensorboard", "matplotlib"), "cli")
    check_trackers(trackers)
    from .curves import Curves  # noqa: PLC0415 (after the check that it can be imported)
    from .tensorboard_log import TensorBoardLog  # noqa: PLC0415

    if len(index.classes) < 2:
        remedy = "Pass the folder that contains the class folders."
        invariant = "a data set must have two classes or more"
        refuse(ValueError, "train", invariant, f"{len(index.classes)}", remedy)
    run = Run(folder)
    weights = [] if recipe.model.weights is None else [recipe.model.weights]
    check_outputs(run.outputs(recipe), weights + [index.root / item.file for item in index.items])
    log, curves = TensorBoardLog(run, recipe), Curves(run)
    is_first = processes is None or processes.rank == 0

    loggers: list[Callable[[Metric], None]] = [log, curves]

    def notify(event: Event, images: int) -> None:
        if isinstance(event, Metric):
            for logger in loggers:
                logger(event)
        if watch:
            watch(event, images)

    if cache and any(map(is_import_path, (recipe.model.backbone, recipe.model.backbone_b))):
        invariant = "the feature cache needs named backbones: it does not know their code"
        remedy = "Leave the cache (--cache) out."
        refuse(ValueError, "train", invariant, recipe.model.backbone, remedy)
    if processes is not None and processes.count > 1:
        options["processes"] = processes
    engine = build(framework, recipe, len(index.classes), allow_import=allow_import, **options)
    preprocessing = make_preprocessing(
        recipe.images, engine.preprocessing, engine.streams.in_channels
    )
    with (
        open_pipelines(recipe, index, preprocessing, workers, processes) as pipelines,
        open_trackers(trackers if is_first else (), run, recipe) as opened,
    ):
        loggers += opened
        training, validation, fixed = pipelines
        cached = training if cache and cache.views else fixed
        run.files = ImageFiles(index, training, run.images_cache) if is_first else None
        if estimate:  # in all processes, because they evaluate together
            seconds = estimate_seconds(recipe, engine, training, validation, workers)
            if watch and is_first:
                watch(TimeEstimated(seconds), 0)
        labels = Counter(item.label for item in index.items if item.split == "train")
        best = train(
            recipe,
            engine,
            training,
            validation,
            run,
            resume=resume,
            save_every=save_every,
            classes=index.classes,
            preprocessing=preprocessing,
            data=index.checksum(),
            class_counts=[labels[k] for k in range(len(index.classes))],
            cache=cache and PipelineCache(cache, cached, validation),
            watch=notify,
        )
    if is_first:
        log.finish()
        curves.finish()
    return best


def make_preprocessing(
    images: Images, weights: Preprocessing | None, in_channels: int = IN_CHANNELS
) -> Preprocessing:
    """The sizes of a recipe, with the mean and std that the weights of the model expect."""
    own = weights or convert_preprocessing(Preprocessing(), in_channels)
    return replace(own, size=images.size, resize=images.resize, square=images.square)


@contextmanager
def open_pipelines(
    recipe: Recipe,
    index: Index,
    preprocessing: Preprocessing,
    workers: int = 0,
    processes: Processes | None = None,
) -> Iterator[tuple[Pipeline, Pipeline, Pipeline]]:
    """Pipelines for training with augmentation, for validation, and for training without it."""
    images = recipe.images
    crop = "resized" if images.scale else "random" if images.random_crop else "center"
    scale = images.scale or Augmentation.scale
    colors = {name: getattr(images, name) for name in LARGEST}
    augmentation = Augmentation(crop, flip=images.flip, scale=scale, **colors)
    options: Any = {"batch_size": recipe.batch_size, "preprocessing": preprocessing}
    options |= {"seed": recipe.seed, "workers": workers}
    if processes is not None:
        options["part"] = processes.rank, processes.count
    train: Any = options | {"drop_last": recipe.drop_last}
    with (
        Pipeline(index, "train", augmentation=augmentation, **train) as training,
        Pipeline(index, "validation", **options) as validation,
        Pipeline(index, "train", **train) as fixed,
    ):
        yield training, validation, fixed
