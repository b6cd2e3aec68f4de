"""``bilinear train``: train a model with a recipe on a data set."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from .._files import check_outputs, read_regular
from .._json import format_json
from ..contract import refuse
from ..data import validation_split
from ..data.index import Split
from ..train import NAMED_RECIPES, Cache, Recipe, Run, events, fit, named_recipe, override
from ._console import Progress, say, show
from ._dataset import DEFAULTS, RECORD, open_data, record_split
from ._model import select_framework
from ._options import MAX_WORKERS, Boxes, Framework, Kind, Level, Subset

RecipeName = Annotated[
    str,
    typer.Argument(
        help=f"{', '.join(NAMED_RECIPES)}, or a JSON file as printed by --print.", metavar="RECIPE"
    ),
]
Data = Annotated[Path | None, typer.Argument(help="The folder of a data set.", metavar="DATA")]
Folder = Annotated[
    Path | None, typer.Argument(help="The folder of the training run.", metavar="RUN")
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
Resume = Annotated[bool, typer.Option("--resume", help="Continue an interrupted run.")]
Fraction = Annotated[
    float,
    typer.Option(
        help="Fraction of each class's training images for validation, "
        "if the data set has no validation split."
    ),
]
Processes = Annotated[
    int, typer.Option(min=0, max=MAX_WORKERS, help="Number of processes that decode images.")
]
SaveEvery = Annotated[
    int | None,
    typer.Option(min=1, help="Save the training state also every N steps.", metavar="N"),
]
Device = Annotated[
    str | None, typer.Option(help="PyTorch only: cpu or cuda. Default: a GPU if there is one.")
]
Amp = Annotated[
    str | None, typer.Option(help="PyTorch only: bfloat16 for automatic mixed precision.")
]
Compile = Annotated[
    bool, typer.Option("--compile", help="Use torch.compile or XLA. JAX always compiles.")
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
        help="Cached augmented versions of each image (default 4); none: no augmentation.",
        metavar="K|none",
    ),
]
Limit = Annotated[
    float | None, typer.Option(help="Largest size of the cache in GiB (default 20).", metavar="GIB")
]

_SPLITS: tuple[tuple[Split, str], ...] = ("train", "training"), ("validation", "validation")


def train(
    recipe: RecipeName,
    data: Data = None,
    folder: Folder = None,
    changes: Set = None,
    resume: Resume = False,
    print_recipe: Print = False,
    framework: Framework = None,
    kind: Kind = None,
    subset: Subset = False,
    boxes: Boxes = False,
    level: Level = None,
    fraction: Fraction = DEFAULTS["fraction"],
    workers: Processes = 2,
    save_every: SaveEvery = None,
    device: Device = None,
    amp: Amp = None,
    compiled: Compile = False,
    cache: CacheFolder = None,
    views: Views = None,
    cache_limit: Limit = None,
) -> None:
    """Train a model with a recipe and print the path of the best model, chosen by validation.

    The test split is never read. After Ctrl-C, a kill or a full disk, --resume continues the run.
    On CPUs the result is bit-identical to that of an uninterrupted run.
    """
    found = override(_recipe(recipe), changes or ())
    if print_recipe:
        show(*format_json(json.loads(found.to_json()), indent=2).splitlines())
        return
    if data is None or folder is None:
        refuse(
            ValueError, "train", "DATA and RUN are required", "only a recipe", "Name both folders."
        )
    if Path(recipe).is_file():
        check_outputs([*Run(folder).outputs(found), folder / RECORD], [recipe])
    feature_cache = _cache(cache, views, cache_limit)
    framework = select_framework(framework)
    options = _options(framework, device, amp, compiled)
    index = validation_split(open_data(data, kind, subset, boxes, level), fraction, found.seed)
    counts = [f"{len(index.split(split)):,} {name}" for split, name in _SPLITS]
    say(f"{found.name} in {framework}, images: {', '.join(counts)}")
    values = {"fraction": fraction, "seed": found.seed}
    images = len(index.split("train")), len(index.split("validation"))
    with _Reporter(found, images, lambda: record_split(folder, values)) as reporter:
        best = fit(
            found,
            framework,
            index,
            folder,
            resume=resume,
            workers=workers,
            save_every=save_every,
            cache=feature_cache,
            watch=reporter,
            **options,
        )
    show(f"{best}")


class _Reporter:
    """Report a run on stderr: a line for each phase and epoch, and progress within an epoch."""

    def __init__(
        self, recipe: Recipe, images: tuple[int, int], on_start: Callable[[], None]
    ) -> None:
        self._training_images, self._validation_images = images
        self._batch = recipe.batch_size
        self._progress: Progress | None = None
        self._title, self._seen = "", 0
        self._on_start: Callable[[], None] | None = on_start  # called when the run has its folder

    def __enter__(self) -> "_Reporter":
        return self

    def __exit__(self, kind: type | None, error: object = None, *rest: object) -> None:
        if self._progress:
            self._progress.__exit__(kind, error, *rest)
        if kind is KeyboardInterrupt:  # the parser drops its message
            say(f"{error}")

    def __call__(self, event: events.Event, seen: int) -> None:
        """Report an event; `seen` is the number of training images of this epoch so far."""
        if self._on_start:
            self._on_start()
            self._on_start = None
        match event:
            case events.PhaseStarted():
                say(f"phase {event.phase}: {event.trained} trainable tensors")
            case events.CacheMessage():
                say(event.text)
            case events.CacheProgress():
                title = f"computing feature maps, {event.split} images, epoch {event.epoch}"
                self._advance(title, event.images, 0, seen)
                if seen == event.images:
                    self._end()
            case events.StepDone():
                # a resumed epoch starts in the middle
                self._advance("", self._training_images, max(seen - self._batch, 0), seen)
                if seen == self._training_images:
                    self._end()
                    say(f"validating on {self._validation_images:,} images")
            case events.ImagesValidated():
                self._advance("", self._validation_images, 0, event.images)
            case _:
                self._end()
                losses = f"loss {event.training_loss:.4f}"
                losses += f", validation loss {event.validation_loss:.4f}"
                accuracy = f"accuracy {event.validation_accuracy:.1%}"
                best = " (best so far)" if event.best else ""
                say(f"phase {event.phase}, epoch {event.epoch}: {losses}, {accuracy}{best}")

    def _advance(self, title: str, total: int, start: int, done: int) -> None:
        """Update the progress of the current activity; print a new `title`; begin at `start`."""
        if self._progress is None or title != self._title:
            self._end()
            if title:
                say(title)
            self._title, self._seen = title, start
            self._progress = Progress(total - start).__enter__()
        self._progress.advance(done - self._seen)
        self._seen = done

    def _end(self) -> None:
        if self._progress:
            self._progress.__exit__(None)
        self._progress = None


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


def _recipe(name: str) -> Recipe:
    path = Path(name)
    if name in NAMED_RECIPES or not path.suffix:
        return named_recipe(name)
    data = read_regular(path)
    try:
        return Recipe.from_json(data.decode())
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _options(framework: str, device: str | None, amp: str | None, compiled: bool) -> dict[str, Any]:
    """Options of the framework's engine. Raises: ValueError for options of another framework."""
    known = {
        "torch": {"device": "device", "amp": "amp", "compile": "compile"},
        "tensorflow": {"compile": "jit_compile"},
        "jax": {},
    }[framework]
    options: dict[str, Any] = {"device": device, "amp": amp, "compile": compiled}
    given = {option: value for option, value in options.items() if value}
    if unknown := given.keys() - known.keys():
        words = ", ".join(f"--{option}" for option in sorted(unknown))
        supported = ", ".join(f"--{option}" for option in known) or "none"
        requirement = f"of --device, --amp and --compile, {framework} supports {supported}"
        refuse(ValueError, "train", requirement, words, "Leave them out.")
    return {known[option]: value for option, value in given.items()}
