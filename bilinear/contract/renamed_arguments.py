"""Layer arguments as portable files up to format version 2, and Keras archives then, name them."""

from collections.abc import Mapping
from typing import Any

RENAMED: Mapping[str, Mapping[str, str]] = {
    "BilinearPool": {"half": "packed"},
    "LowRankBilinearPool": {"rank": "dim", "factors": "rank"},
}
"""Class name -> name before 0.1 -> name now."""


def upgrade_arguments(name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a layer under current names; current or mixed ones stay as they are."""
    renamed = RENAMED.get(name, {})
    only_before = renamed.keys() - set(renamed.values())
    only_now = set(renamed.values()) - renamed.keys()
    if not arguments.keys() & only_before or arguments.keys() & only_now:
        return dict(arguments)
    return {renamed.get(key, key): value for key, value in arguments.items()}
