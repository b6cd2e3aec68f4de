"""The fields in which two JSON values differ, for messages about a resumed run."""

from typing import Any

SHOWN = 8
"""Fields that a message names."""


def differences(old: Any, new: Any) -> list[str]:
    """Name each field with the value of the run and the new value, as in ``seed: 0, now 1``."""
    before, after = dict(fields(old)), dict(fields(new))
    paths = [path for path in before | after if before.get(path) != after.get(path)]
    found = [f"{path}: {before.get(path, 'none')}, now {after.get(path, 'none')}" for path in paths]
    return found if len(found) <= SHOWN else [*found[:SHOWN], f"{len(found) - SHOWN} more"]


def fields(value: Any, path: str = "") -> list[tuple[str, str]]:
    """The path and the value of each field, objects and lists opened."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    pairs = []
    for key, part in items:
        inner = f"{path}.{key}" if path else f"{key}"
        nested = isinstance(part, (dict, list, tuple)) and part
        pairs += fields(part, inner) if nested else [(inner, f"{part!r}"[:80])]
    return pairs
