"""``bilinear train``: train a model with a recipe on a data set."""

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from .._files import check_outputs
from ..contract import refuse
from ..data import Index, validation_split
from ..data.composition import composition_warnings
from ..data.index import Split
from ..train import NAMED_RECIPES, Cache, Run, fit, override
from . import _dataset
from ._console import say, show
from ._dataset import COMMAND, RECORD, open_data, record_split
from ._model import select_framework
from ._options import MAX_WORKERS, AllowImport, Boxes, Framework, Kind, Level, Subset
from ._processes import joined
from ._recipe import chosen_recipe, print_recipe, read_recipe, split_words
from ._report import Reporter
from ._resume import merge_options, record_command

Words = Annotated[
    list[str],
    typer.Argument(
        help=f"RECIPE: {', '.join(NAMED_RECIPES)}, or a JSON file as printed by --print. "
        "Default: a small recipe, chosen by the number of images and the device. "
        "DATA: the folder of a data set. RUN: the folder of the training run.",
        metavar="[RECIPE] DATA RUN",
    ),
]
Print = Annotated[bool, typer.Option("--print", help="Print the recipe as JSON and exit.")]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Change a field of the recipe, such as phases.0.epochs=8. Repeatable.",
        metavar="PATH=VALUE",
    ),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume", help="Continue an interrupted run. RUN is then the only required argument."
    ),
]
Fraction = Annotated[
    float | None,
    typer.Option(
        help="Fraction of each class's training images for validation, "
        "if the data set has no validation split (default 0.1)."
    ),
]
Processes = Annotated[
    int | None,
    typer.Option(
        min=0, max=MAX_WORKERS, help="Number of processes that decode images (default 2)."
    ),
]
SaveEvery = Annotated[
    int | None,
    typer.Option(min=1, help="Save the training state also every N steps.", metavar="N"),
]
Device = Annotated[
    str | None, typer.Option(help="PyTorch only: cpu or cuda. Default: a GPU if there is one.")
]
Devices = Annotated[
    int | None,
    typer.Option(
        min=1, help="TensorFlow and JAX: train on the first N GPUs, or CPU devices (default 1)."
    ),
]
Amp = Annotated[
    str | None, typer.Option(help="PyTorch only: bfloat16 for automatic mixed precision.")
]
Compile = Annotated[
    bool, typer.Option("--compile", help="Use torch.compile or XLA. JAX always compiles.")
]
ShardClassifier = Annotated[
    bool,
    typer.Option(
        "--shard-classifier",
        help="Several processes of PyTorch, or devices of JAX: shard the classifier by classes.",
    ),
]
CacheFolder = Annotated[
    Path | None,
    typer.Option(
        "--cache",
        help="Cache the feature maps of frozen backbones in this folder.",
        metavar="FOLDER",
    ),
]
Views = Annotated[
    str | None,
    typer.Option(
        help="With --cache: number of augmented versions of each image (default 4); "
        "none: no augmentation.",
        metavar="K|none",
    ),
]
Limit = Annotated[
    float | None, typer.Option(help="Largest size of the cache in GiB (default 20).", metavar="GIB")
]

FLAGS = {name: f"--{name}" for name in ("device", "devices", "amp", "compile")}
FLAGS |= {"shard_classifier": "--shard-classifier"}
"""Options of the framework."""
DEFAULTS = {"fraction": _dataset.DEFAULTS["fraction"], "workers": 2}
Trackers = Annotated[
    list[str] | None,
    typer.Option("--tracker", help="Also log to this tracker. Repeatable.", metavar="wandb|mlflow"),
]

_SPLITS: tuple[tuple[Split, str], ...] = ("train", "training"), ("validation", "validation")


def train(
    words: Words,
    changes: Set = None,
    resume: Resume = False,
    print_only: Print = False,
    framework: Framework = None,
    kind: Kind = None,
    subset: Subset = False,
    boxes: Boxes = False,
    level: Level = None,
    fraction: Fraction = None,
    workers: Processes = None,
    save_every: SaveEvery = None,
    device: Device = None,
    devices: Devices = None,
    amp: Amp = None,
    compiled: Compile = False,
    shard_classifier: ShardClassifier = False,
    allow_import: AllowImport = False,
    cache: CacheFolder = None,
    views: Views = None,
    cache_limit: Limit = None,
    trackers: Trackers = None,
) -> None:
    """Train a model with a recipe and print the path of the best model, chosen by validation.

    The test split is never read. After Ctrl-C, a kill or a full disk, --resume continues the run.
    On CPUs the result is bit-identical to that of an uninterrupted run. Launchers such as torchrun
    start several processes that train one model.
    """
    name, data, folder = split_words(words, resume)
    found = None if name is None else override(read_recipe(name), changes or ())
    if found and print_only:
        print_recipe(found)
        return
    if folder is None or (data is None and not resume):
        received = f"only {' '.join(words)}"
        refuse(ValueError, "train", "DATA and RUN are required", received, "Name both folders.")
    run = Run(folder)
    if resume and run.exists():
        if found is None:
            found = override(read_recipe(f"{run.recipe}"), changes or ())
    elif data is None:
        remedy = "Name the folder of a run, or DATA and RUN to start one."
        refuse(ValueError, "train", f"{folder} must contain a training run", "none", remedy)
    options: dict[str, Any] = {
        "data": data and os.path.abspath(data),
        "kind": kind,
        "subset": subset,
        "boxes": boxes,
        "level": level,
        "fraction": fraction,
        "framework": framework,
        "workers": workers,
        "save_every": save_every,
        "device": device,
        "devices": devices,
        "amp": amp,
        "compile": compiled,
        "cache": cache and os.path.abspath(cache),
        "views": views,
        "cache_limit": cache_limit,
        "tracker": trackers or None,
    }
    if resume:
        options = merge_options(folder, options)
    options = DEFAULTS | {name: value for name, value in options.items() if value is not None}
    feature_cache = _cache(*(options.get(name) for name in ("cache", "views", "cache_limit")))
    options["framework"] = framework = select_framework(options.get("framework"))
    # as the number of processes, it is not an option of the run
    settings = _settings(framework, options | {"shard_classifier": shard_classifier})
    with joined(framework, options.get("device")) as processes:
        index = _open(data, options)
        is_chosen = found is None
        if found is None:
            images = len(validation_split(index, options["fraction"]).split("train"))
            found = chosen_recipe(images, framework, options.get("device"), changes or ())
            if print_only:
                print_recipe(found)
                return
        if name and Path(name).is_file():
            check_outputs([*run.outputs(found), folder / RECORD, folder / COMMAND], [name])
        split = {"fraction": options["fraction"], "seed": found.seed}
        index = validation_split(index, **split)
        counts = [f"{len(index.split(split)):,} {name}" for split, name in _SPLITS]
        say(f"{found.name} in {framework}, images: {', '.join(counts)}")
        for text in composition_warnings(index, balanced=found.class_weights is not None):
            say(f"bilinear: warning: {text}")

        def record() -> None:
            record_split(folder, split)
            record_command(folder, options)

        images = len(index.split("train")), len(index.split("validation"))
        with Reporter(found, images, record) as reporter:
            best = fit(
                found,
                framework,
                index,
                folder,
                resume=resume,
                workers=options["workers"],
                save_every=options.get("save_every"),
                cache=feature_cache,
                estimate=is_chosen,
                allow_import=allow_import,
                trackers=options.get("tracker", ()),
                watch=reporter,
                processes=processes,
                **settings,
            )
        show(f"{best}")


def _open(data: Path | None, options: Mapping[str, Any]) -> Index:
    """Open the data set of the command, or that of the run that it resumes."""
    if data is None and "data" not in options:
        remedy = "Name DATA too: bilinear train --resume DATA RUN."
        refuse(ValueError, "train", "the run must have the path of its data", "none", remedy)
    path = Path(options["data"]) if data is None else data
    flags = options.get("subset", False), options.get("boxes", False)
    return open_data(path, options.get("kind"), *flags, options.get("level"))


def _cache(folder: Path | None, views: str | None, limit: float | None) -> Cache | None:
    """The cache options. Raises: ValueError for invalid values or options without --cache."""
    if folder is None and views is None and limit is None:
        return None
    if folder is None:
        requirement = "--views and --cache-limit require --cache"
        remedy = "Pass --cache FOLDER, or leave them out."
        refuse(ValueError, "train", requirement, "no --cache", remedy)
    if views is not None and views != "none" and not views.isdecimal():
        requirement = "--views must be an integer or none"
        refuse(ValueError, "train", requirement, repr(views), "For example --views 4.")
    if limit is not None and not 0 < limit * 2**30 < math.inf:
        requirement = "--cache-limit must be positive and finite"
        refuse(ValueError, "train", requirement, f"{limit}", "The default is 20.")
    options: dict[str, Any] = {} if limit is None else {"limit": int(limit * 2**30)}
    if views is not None:
        options["views"] = None if views == "none" else int(views)
    return Cache(folder, **options)


def _settings(framework: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of the framework's engine. Raises: ValueError for options of another framework."""
    known = {
        "torch": {name: name for name in FLAGS if name != "devices"},
        "tensorflow": {"compile": "jit_compile", "devices": "devices"},
        "jax": {name: name for name in ("devices", "shard_classifier")},
    }[framework]
    given = {name: options[name] for name in FLAGS if options.get(name)}
    if unknown := given.keys() - known.keys():
        words = ", ".join(FLAGS[name] for name in sorted(unknown))
        supported = ", ".join(FLAGS[name] for name in known)
        requirement = f"{framework} supports only {supported} of {', '.join(FLAGS.values())}"
        remedy = "torchrun starts several processes." if "devices" in unknown else "Leave them out."
        refuse(ValueError, "train", requirement, words, remedy)
    return {known[name]: value for name, value in given.items()}
