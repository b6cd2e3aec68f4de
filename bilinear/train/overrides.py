"""Override single fields of a recipe by their path: ``phases.0.epochs=8``."""

import json
from collections.abc import Iterable
from typing import Any

from ..contract import refuse
from .recipes import Recipe


def override(recipe: Recipe, changes: Iterable[str]) -> Recipe:
    """The recipe with each ``"PATH=VALUE"`` applied in order.

    A path names fields of the recipe's JSON and indices of its lists, from 0, as in
    ``phases.1.groups.0.learning_rate``. A value is JSON (``8``, ``null``, ``true``,
    ``["relu5_3"]``); a value that is not valid JSON is text (``resnet18``).

    Raises: ValueError that names the path and the existing fields, or the field and its
        requirement.
    """
    data = json.loads(recipe.to_json())
    for change in changes:
        path, equals, text = change.partition("=")
        if not path or not equals:
            remedy = "Example: phases.0.epochs=8."
            refuse(ValueError, "recipe", "a change must be PATH=VALUE", repr(change), remedy)
        *outer, last = path.split(".")
        part = data
        for depth, step in enumerate(outer):
            part = part[_key(part, step, path, outer[:depth])]
        part[_key(part, last, path, outer)] = _parse(text)
    return Recipe.from_json(json.dumps(data))


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _key(data: Any, step: str, path: str, before: list[str]) -> str | int:
    """The key or index that `step` names in `data`. Raises: ValueError where it names none."""
    keys: list[str] = []
    if isinstance(data, (dict, list)):
        keys = list(map(str, data if isinstance(data, dict) else range(len(data))))
    if step not in keys:
        where = ".".join(before) or "a recipe"
        word = "index" if isinstance(data, list) else "field"
        requirement = f"the {word} in {where} must be one of {', '.join(keys)}"
        if not keys:
            requirement = f"{where} is {data!r} and has no fields"
        remedy = "--print shows the whole recipe."
        refuse(ValueError, f"recipe: {path}", requirement, step, remedy)
    return int(step) if isinstance(data, list) else step
