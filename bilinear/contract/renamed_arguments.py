"""Layer arguments as files written before version 0.1 name them.

Portable files up to format version 2 and Keras archives of that time use these names.
"""

from collections.abc import Mapping
from typing import Any

RENAMED: Mapping[str, Mapping[str, str]] = {
    "BilinearPool": {"half": "packed"},
    "LowRankBilinearPool": {"rank": "dim", "factors": "rank"},
}
"""Class name -> name before 0.1 -> name now."""


def upgrade_arguments(name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a layer of class `name` under the current names.

    Arguments that are current already, or that mix the names of both times, stay as they are.
    """
    renamed = RENAMED.get(name, {})
    only_before = renamed.keys() - set(renamed.values())
    only_now = set(renamed.values()) - renamed.keys()
    if not arguments.keys() & only_before or arguments.keys() & only_now:
        return dict(arguments)
    return {renamed.get(key, key): value for key, value in arguments.items()}
