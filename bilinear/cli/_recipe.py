"""The recipe of ``bilinear train``: named, in a file, in the folder of a run, or chosen."""

import importlib
import json
import shlex
from collections.abc import Sequence
from pathlib import Path

from .._files import read_regular
from .._json import format_json
from ..contract import refuse
from ..models.import_path import is_import_path
from ..models.weights import PINS, fetch
from ..train import NAMED_RECIPES, Recipe, named_recipe
from ..train.default_recipe import BACKBONE, choose_recipe
from ._console import say, show

Words = tuple[str | None, Path | None, Path | None]


def split_words(words: Sequence[str], resume: bool) -> Words:
    """RECIPE, DATA and RUN of ``[RECIPE] DATA RUN``; None for each one that is missing."""
    first, count = words[0], len(words)
    if count > 3:
        received = f"{count} arguments"
        remedy = "Quote names that have spaces."
        refuse(ValueError, "train", "the arguments are [RECIPE] DATA RUN", received, remedy)
    is_recipe = first in NAMED_RECIPES or Path(first).suffix == ".json"
    if count == 1 and not is_recipe and (resume or Path(first).is_dir()):
        return (None, None, Path(first)) if resume else (None, Path(first), None)
    if count == 2 and not is_recipe:
        return None, Path(first), Path(words[1])
    paths: list[Path | None] = [*map(Path, words[1:]), None, None]
    return first, paths[0], paths[1]


def read_recipe(name: str) -> Recipe:
    """A named recipe, or that of a file."""
    path = Path(name)
    if name in NAMED_RECIPES or not path.suffix:
        return named_recipe(name)
    data = read_regular(path)
    try:
        return Recipe.from_json(data.decode())
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def print_recipe(recipe: Recipe) -> None:
    show(*format_json(json.loads(recipe.to_json()), indent=2).splitlines())


def chosen_recipe(
    images: int, framework: str, device: str | None, changes: Sequence[str]
) -> Recipe:
    """Choose a recipe, and print it as options of the command that names it.

    Without `model.weights` among the changes, the pretrained weights of a named backbone are
    downloaded, and without a connection the recipe starts from random weights.
    """
    given = {path: value for path, _, value in (change.partition("=") for change in changes)}
    backbone, weights = given.get("model.backbone", BACKBONE), given.get("model.weights")
    pretrained = weights != "null" and not (weights is None and is_import_path(backbone))
    if weights is None and backbone in PINS:
        try:
            fetch(backbone)
        except OSError as error:
            cause = error.__cause__
            reason = f"{type(cause).__name__}: {' '.join(f'{cause}'.split()).partition('. ')[0]}"
            remedy = "--set model.weights=FILE uses a weight file"
            text = "the network starts from random weights"
            say(f"bilinear: no pretrained weights ({reason}): {text}; {remedy}")
            pretrained = False
    adapter = importlib.import_module(f"bilinear.models.{framework}.framework")
    where = device or adapter.device()
    choice = choose_recipe(images, gpu=where != "cpu", pretrained=pretrained, backbone=backbone)
    options = " ".join(f"--set {shlex.quote(change)}" for change in choice.changes)
    say(f"recipe for {images:,} training images on {where}: {choice.name} {options}")
    return choice.recipe(changes)
