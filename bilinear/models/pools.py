"""The pools of a portable file, without any framework.

A pool's description is ``{"name": class, **arguments}``, arguments JSON scalars, lists of integers
or, in "pool", the description of the pool within. `bilinear.contract.layers.LAYERS` says which
arguments a class has; its tensors are named as the layer names them.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..contract import refuse
from ..contract.layers import LAYERS, TensorSpec
from ..contract.options import check_forms

UPGRADE = "Upgrade bilinear: pip install -U bilinear"

Sizes = Sequence[int]

POOLS = {name: layer for name, layer in LAYERS.items() if layer.is_pool}
"""Class name -> what a file says of it."""


def counted(least: float, most: float) -> str:
    if least == most:
        return "one map" if least == 1 else f"{least} maps"
    return f"{least} maps or more" if most == math.inf else f"{least} to {most} maps"


def fits(found: Any, wanted: Any) -> bool:
    """Whether a pool's channels (or classes) are those of the maps; one number is of one map."""
    if isinstance(wanted, tuple):
        found = tuple(found) if isinstance(found, (tuple, list)) else (found,)
    return found == wanted


def size(pooling: Mapping[str, Any], channels: Sizes) -> int:
    """The length of the descriptor of maps of these channels."""
    return POOLS[pooling["name"]].size(pooling, channels)


def tensors(pooling: Mapping[str, Any], channels: Sizes) -> dict[str, TensorSpec]:
    """The pool's tensors by name, without the prefix they have in a model."""
    return POOLS[pooling["name"]].tensors(pooling, channels)


def is_classifier(pooling: Mapping[str, Any]) -> bool:
    """Whether the pool gives logits, so that no classifier follows it."""
    return "num_classes" in pooling


def check_pooling(
    op: str, pooling: Mapping[str, Any], channels: Sizes, num_classes: int, remedy: str
) -> None:
    """ValueError unless this is a pool of this version, for maps of these channels."""
    name = pooling["name"]
    if name not in POOLS:
        known = ", ".join(POOLS)
        refuse(ValueError, op, f"the pooling must be one of {known}", repr(name), UPGRADE)
    pool, given = POOLS[name], pooling.keys() - {"name"}
    unknown = not given <= pool.arguments.keys()
    if unknown or not given >= pool.arguments.keys() - pool.optional:
        invariant = f"{name} has the arguments {', '.join(pool.arguments)}"
        refuse(ValueError, op, invariant, f"{sorted(given)}", UPGRADE if unknown else remedy)
    for argument in given - {"pool"}:
        kind = pool.arguments[argument].kind
        if not kind.accepts(pooling[argument]):
            invariant = f"{argument} of {name} must be {kind.words}"
            refuse(ValueError, op, invariant, repr(pooling[argument]), remedy)
    root, eps = pooling.get("root", "signed"), pooling.get("eps")
    check_forms(op, eps, root, pooling.get("slope_eps"), remedy)
    if not pool.maps[0] <= len(channels) <= pool.maps[1]:
        invariant = f"{name} takes {counted(*pool.maps)}"
        refuse(ValueError, op, invariant, f"{len(channels)}", remedy)
    for argument, wanted in ("channels", tuple(channels)), ("num_classes", num_classes):
        if argument in pooling and not fits(pooling[argument], wanted):
            found = pooling[argument]
            refuse(ValueError, op, f"{argument} of {name} must be {wanted}", f"{found}", remedy)
    if pooling.get("packed") and len(channels) == 2:
        refuse(ValueError, op, "packed=True is for one map", "2 maps", remedy)
    if "pool" in pooling:
        inner = pooling["pool"]
        if not isinstance(inner, Mapping):
            invariant = f"pool of {name} must be the description of a pool"
            refuse(ValueError, op, invariant, repr(inner), remedy)
        check_pooling(op, inner, channels, num_classes, remedy)
        if is_classifier(inner):
            refuse(ValueError, op, f"{name} is of a pool", repr(inner["name"]), remedy)
