"""``bilinear train``: a recipe on a data set, resumable after anything."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from ..contract import refuse
from ..data import validation_split
from ..data.index import Split
from ..train import NAMED, Cache, Recipe, changed, fit, named
from ._console import Progress, say
from ._dataset import DEFAULTS, dataset, record
from ._model import chosen
from ._options import Boxes, Framework, Kind, Level, Subset

Chosen = Annotated[
    str,
    typer.Argument(help=f"{', '.join(NAMED)}, or a JSON file such as --print writes."),
]
Data = Annotated[Path | None, typer.Argument(help="The folder of a data set.", metavar="DATA")]
Folder = Annotated[Path | None, typer.Argument(help="The folder of the run.", metavar="RUN")]
Print = Annotated[bool, typer.Option("--print", help="Print the recipe as JSON; train nothing.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="Change the recipe, as phases.0.epochs=8.", metavar="PATH=VALUE"),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on where RUN stopped.")]
Fraction = Annotated[
    float, typer.Option(help="Of each class's training images, for validation if there is none.")
]
Processes = Annotated[int, typer.Option(min=0, help="Processes that decode images.")]
Every = Annotated[int | None, typer.Option(min=1, help="Steps between states in an epoch.")]
Device = Annotated[
    str | None, typer.Option(help="Of PyTorch: cpu or cuda. Else a GPU, if there is one.")
]
Amp = Annotated[str | None, typer.Option(help="Of PyTorch: bfloat16 for automatic precision.")]
Compile = Annotated[
    bool, typer.Option("--compile", help="By torch.compile, or XLA. JAX compiles always.")
]
CacheFolder = Annotated[
    Path | None,
    typer.Option(
        "--cache",
        help="Keep the maps of frozen backbones here, for later epochs.",
        metavar="FOLDER",
    ),
]
Views = Annotated[
    str | None,
    typer.Option(
        help="Of each image in the cache: 4 unless said; none for one that is not varied.",
        metavar="K|none",
    ),
]
Limit = Annotated[float | None, typer.Option(help="Of the cache: 20 unless said.", metavar="GIB")]

_PARTS: tuple[tuple[Split, str], ...] = ("train", "to train on"), ("validation", "to validate on")


def train(
    recipe: Chosen,
    data: Data = None,
    folder: Folder = None,
    changes: Set = None,
    resume: Resume = False,
    show: Print = False,
    framework: Framework = None,
    kind: Kind = None,
    subset: Subset = False,
    boxes: Boxes = False,
    level: Level = None,
    fraction: Fraction = DEFAULTS["fraction"],
    workers: Processes = 2,
    save_every: Every = None,
    device: Device = None,
    amp: Amp = None,
    compiled: Compile = False,
    cache: CacheFolder = None,
    views: Views = None,
    cache_limit: Limit = None,
) -> None:
    """Train a model by a recipe; print the path of the best one, by validation.

    The test part is never opened. Ctrl-C, a kill or a full disk leave a run that --resume ends,
    on CPUs with the same bits.
    """
    found = changed(_recipe(recipe), changes or ())
    if show:
        print(found.to_json(), end="")
        return
    if data is None or folder is None:
        refuse(ValueError, "train", "it needs DATA and RUN", "only a recipe", "Name both folders.")
    kept = _cache(cache, views, cache_limit)
    framework = chosen(framework)
    options = _options(framework, device, amp, compiled)
    index = validation_split(dataset(data, kind, subset, boxes, level), fraction, found.seed)
    parts = [f"{len(index.part(part)):,} {what}" for part, what in _PARTS]
    say(f"{found.name} in {framework}, images: {', '.join(parts)}")
    about = {"fraction": fraction, "seed": found.seed}
    images = len(index.part("train")), len(index.part("validation"))
    with _Told(found, images, lambda: record(folder, about)) as told:
        best = fit(
            found,
            framework,
            index,
            folder,
            resume=resume,
            workers=workers,
            save_every=save_every,
            cache=kept,
            watch=told,
            **options,
        )
    print(best)


class _Told:
    """What a run says while it goes on: of each phase and epoch a line, and a bar within one."""

    def __init__(self, recipe: Recipe, images: tuple[int, int], begun: Callable[[], None]) -> None:
        self._images, self._validated = images
        self._batch = recipe.batch_size
        self._progress: Progress | None = None
        self._about, self._seen = "", 0
        self._begun: Callable[[], None] | None = begun  # called once the run has its folder

    def __enter__(self) -> "_Told":
        return self

    def __exit__(self, kind: type | None, error: object = None, *rest: object) -> None:
        if self._progress:
            self._progress.__exit__(kind, error, *rest)
        if kind is KeyboardInterrupt:  # of which the parser keeps the exit code alone
            say(f"{error}")

    def __call__(self, event: Mapping[str, Any], seen: int) -> None:
        """An event of the metrics, and how many images of the epoch have been trained on."""
        if self._begun:
            self._begun()
            self._begun = None
        if event["event"] == "phase":
            say(f"phase {event['phase']}: {event['trained']} tensors are trained")
        elif event["event"] == "cache":
            say(event["text"])
        elif event["event"] == "fill":
            about = f"computing maps, {event['part']} images, epoch {event['epoch']}"
            self._advance(about, event["images"], 0, seen)
            if seen == event["images"]:
                self._end()
        elif event["event"] == "step":
            # of a resumed epoch, what is left of it
            self._advance("", self._images, max(seen - self._batch, 0), seen)
            if seen == self._images:
                self._end()
                say(f"validating on {self._validated:,} images")
        elif event["event"] == "validated":
            self._advance("", self._validated, 0, event["images"])
        else:
            self._end()
            losses = f"loss {event['training_loss']:.4f}, validation {event['validation_loss']:.4f}"
            best = ", the best so far" if event["best"] else ""
            accuracy = f"{event['validation_accuracy']:.1%} right"
            say(f"phase {event['phase']}, epoch {event['epoch']}: {losses}, {accuracy}{best}")

    def _advance(self, about: str, total: int, begun: int, done: int) -> None:
        """Move the bar of what is done now, which begins at `begun` where it has none yet; what
        `about` says comes first."""
        if self._progress is None or about != self._about:
            self._end()
            if about:
                say(about)
            self._about, self._seen = about, begun
            self._progress = Progress(total - begun).__enter__()
        self._progress.advance(done - self._seen)
        self._seen = done

    def _end(self) -> None:
        if self._progress:
            self._progress.__exit__(None)
        self._progress = None


def _cache(folder: Path | None, views: str | None, limit: float | None) -> Cache | None:
    """Raises: ValueError for options that no cache has."""
    if folder is None:
        if views is not None or limit is not None:
            remedy = "Name its folder, or leave them out."
            refuse(ValueError, "train", "--views and --cache-limit are of --cache", "none", remedy)
        return None
    given: dict[str, Any] = {}
    if views is not None:
        if views != "none" and not views.isdecimal():
            remedy = "Such as --views 4."
            refuse(ValueError, "train", "--views must be a number or none", repr(views), remedy)
        given["views"] = None if views == "none" else int(views)
    if limit is not None:
        if not 0 < limit * 2**30 < math.inf:
            invariant, remedy = "--cache-limit must be above 0 and finite", "Such as 20."
            refuse(ValueError, "train", invariant, f"{limit}", remedy)
        given["limit"] = int(limit * 2**30)
    return Cache(folder, **given)


def _recipe(name: str) -> Recipe:
    path = Path(name)
    if name in NAMED or not path.suffix:
        return named(name)
    return Recipe.from_json(path.read_text(encoding="utf-8"))


def _options(framework: str, device: str | None, amp: str | None, compiled: bool) -> dict[str, Any]:
    """Of the framework's engine. Raises: ValueError for what it does not have."""
    asked: dict[str, Any] = {"device": device, "amp": amp, "compile": compiled}
    names = {"torch": {"device": "device", "amp": "amp", "compile": "compile"}}
    known = names | {"tensorflow": {"compile": "jit_compile"}, "jax": {}}
    wanted = {option: value for option, value in asked.items() if value}
    if unknown := wanted.keys() - known[framework].keys():
        words = ", ".join(f"--{option}" for option in sorted(unknown))
        remedy = "They are for another framework; leave them out."
        refuse(ValueError, "train", f"{framework} has no such options", words, remedy)
    return {known[framework][option]: value for option, value in wanted.items()}
