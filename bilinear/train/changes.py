"""Changes of a recipe, each by the way to a field: ``phases.0.epochs=8``."""

import json
from collections.abc import Iterable
from typing import Any

from ..contract import refuse
from .recipes import Recipe


def changed(recipe: Recipe, changes: Iterable[str]) -> Recipe:
    """The recipe with each of ``"PATH=VALUE"`` in it, one after the other.

    A path goes through the recipe's JSON, by names of fields and by numbers in lists, from 0, as
    in ``phases.1.groups.0.rate``. A value is JSON (``8``, ``null``, ``true``, ``["relu5_3"]``),
    and what is none is text (``resnet18``).

    Raises: ValueError that names the path, what is there, or the field that cannot be so.
    """
    data = json.loads(recipe.to_json())
    for change in changes:
        path, equals, text = change.partition("=")
        if not path or not equals:
            remedy = "Write it as phases.0.epochs=8."
            refuse(ValueError, "recipe", "a change must be PATH=VALUE", repr(change), remedy)
        _put(data, path, _value(text))
    return Recipe.from_json(json.dumps(data))


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _put(data: Any, path: str, value: Any) -> None:
    """Replace what is at a path. Raises: ValueError where nothing is there."""
    place, steps, behind = data, path.split("."), []
    for number, step in enumerate(steps):
        key = _key(place, step, path, behind)
        if number == len(steps) - 1:
            place[key] = value
        place, behind = place[key], [*behind, step]


def _key(place: Any, step: str, path: str, behind: list[str]) -> str | int:
    """The name or number by which `step` is found in `place`."""
    if isinstance(place, dict):
        keys: list[str] = list(place)
    else:
        keys = list(map(str, range(len(place)))) if isinstance(place, list) else []
    if step not in keys:
        where = f"in {'.'.join(behind)}" if behind else "in a recipe"
        known = f"one of {', '.join(keys)}" if keys else f"nothing, for it is {place!r}"
        remedy = "--print shows the whole recipe."
        refuse(ValueError, f"recipe: {path}", f"what follows {where} is {known}", step, remedy)
    return int(step) if isinstance(place, list) else step
