"""The pools of models: described as in the portable file, checked, and made.

A pool's description is ``{"name": class, **arguments}``, arguments JSON scalars, lists of integers
or, in "pool", the description of the pool within. `bilinear.contract.layers.LAYERS` says which
arguments a class has; its tensors are named as the layer names them.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from .. import presets
from ..contract import refuse
from ..contract.layers import LAYERS, TensorSpec
from ..contract.options import check_forms
from .framework import Framework
from .streams import Streams

UPGRADE = "Upgrade bilinear: pip install -U bilinear"

Sizes = Sequence[int]
MakeLayer = Callable[..., Any]
"""``make(class name, **arguments)`` -> a layer of the framework, in the model's dtype."""

POOLS = {name: layer for name, layer in LAYERS.items() if layer.is_pool}
"""Class name -> the pool's row in the table of layers."""


def size(pooling: Mapping[str, Any], channels: Sizes) -> int:
    """Return the length of the descriptor of feature maps with these channels."""
    return POOLS[pooling["name"]].size(pooling, channels)


def tensors(pooling: Mapping[str, Any], channels: Sizes) -> dict[str, TensorSpec]:
    """Return the pool's tensors by name, without the prefix that they have in a model."""
    return POOLS[pooling["name"]].tensors(pooling, channels)


def has_unit_length(pooling: Mapping[str, Any]) -> bool:
    """Whether the pool divides its output by its length."""
    return POOLS[pooling.get("pool", pooling)["name"]].unit_length


def is_classifier(pooling: Mapping[str, Any]) -> bool:
    """Whether the pool gives logits, so that no classifier follows it."""
    return "num_classes" in pooling


def check_map_count(op: str, name: str, count: int, remedy: str) -> None:
    """Raise ValueError for a pool that does not take `count` feature maps."""
    least, most = POOLS[name].maps
    if least <= count <= most:
        return
    text = f"{least} to {most} maps" if least < most < math.inf else f"{least} maps"
    text = "one map" if most == 1 else f"{text} or more" if most == math.inf else text
    refuse(ValueError, op, f"{name} takes {text}", f"{count}", remedy)


def check_pooling(
    op: str, pooling: Mapping[str, Any], channels: Sizes, num_classes: int, remedy: str
) -> None:
    """Raise ValueError unless this describes a pool for feature maps of these channels."""
    name = pooling["name"]
    check_arguments(op, pooling, remedy, UPGRADE)
    pool, given = POOLS[name], pooling.keys() - {"name"}
    if not given >= pool.arguments.keys() - pool.optional:
        _refuse_arguments(op, pooling, remedy)
    check_map_count(op, name, len(channels), remedy)
    _check_sizes(op, name, pooling, channels, num_classes, remedy)
    if pooling.get("packed") and len(channels) == 2:
        refuse(ValueError, op, "packed=True is for one map", "2 maps", remedy)
    if "pool" in pooling:
        check_pooling(op, pooling["pool"], channels, num_classes, remedy)


def check_arguments(op: str, pooling: Mapping[str, Any], remedy: str, unknown: str) -> None:
    """Raise ValueError for an unknown pool or argument, or a value that is not of its kind.

    `unknown` is the remedy for unknown names. Arguments that are not given have their defaults.
    """
    name = pooling["name"]
    if name not in POOLS:
        known = ", ".join(POOLS)
        refuse(ValueError, op, f"the pooling must be one of {known}", repr(name), unknown)
    row, given = POOLS[name].arguments, pooling.keys() - {"name"}
    if not given <= row.keys():
        _refuse_arguments(op, pooling, unknown)
    for argument in given - {"pool"}:
        kind = row[argument].kind
        if not kind.accepts(pooling[argument]):
            invariant = f"{argument} of {name} must be {kind.words}"
            refuse(ValueError, op, invariant, repr(pooling[argument]), remedy)
    values = {argument: default for argument, (_, default) in row.items()} | dict(pooling)
    root, slope = values.get("root", "signed"), values.get("slope_eps")
    check_forms(op, values.get("eps"), root, slope, remedy)
    if "pool" in pooling:
        inner = pooling["pool"]
        if not isinstance(inner, Mapping) or not isinstance(inner.get("name"), str):
            invariant = f"pool of {name} must be the description of a pool"
            refuse(ValueError, op, invariant, repr(inner), remedy)
        check_arguments(op, inner, remedy, unknown)
        if "num_classes" in POOLS[inner["name"]].arguments:
            invariant, received = f"the pool of {name} must give a descriptor", inner["name"]
            refuse(ValueError, op, invariant, f"a {received}, which gives logits", remedy)


def _refuse_arguments(op: str, pooling: Mapping[str, Any], remedy: str) -> NoReturn:
    invariant = f"{pooling['name']} has the arguments {', '.join(POOLS[pooling['name']].arguments)}"
    refuse(ValueError, op, invariant, f"{sorted(pooling.keys() - {'name'})}", remedy)


def _check_sizes(
    op: str, name: str, given: Mapping[str, Any], channels: Sizes, num_classes: int, remedy: str
) -> None:
    """Raise ValueError for a pool made for other feature maps or classes."""
    for argument, wanted in ("channels", tuple(channels)), ("num_classes", num_classes):
        value = given.get(argument, wanted)
        plain = value
        if argument == "channels":
            plain = tuple(value) if isinstance(value, (tuple, list)) else (value,)
        if plain != wanted:
            refuse(ValueError, op, f"{argument} of {name} must be {wanted}", f"{value}", remedy)


def named_pool(op: str, given: Any, remedy: str) -> dict[str, Any]:
    """Return ``{"name": class, **arguments}`` of a name, or of the name and arguments of a mapping.

    The name is that of a class or preset; None is ``BilinearPool``.

    Raises: ValueError for an unknown name or argument, or an invalid value.
    """
    given = "BilinearPool" if given is None else given
    described = dict(given) if isinstance(given, Mapping) else {"name": given}
    name = described.get("name")
    if name not in (*POOLS, *presets.PRESETS):
        invariant = "the name of a pool must be one of " + ", ".join((*POOLS, *presets.PRESETS))
        refuse(ValueError, op, invariant, repr(name), remedy)
    described = described if name in POOLS else presets.describe(**described)
    check_arguments(op, described, remedy, remedy)
    return described


def describe_named_pool(
    given: str | Mapping[str, Any] | None, streams: Streams, num_classes: int, seed: int | None
) -> dict[str, Any]:
    """Describe the pool of a name, or of a name and arguments, for a model; defaults left out."""
    described = named_pool("BCNN", given, "Check the spelling.")
    channels = streams.pooled
    remedy = "Use taps, or a pool for that many feature maps."
    check_map_count("BCNN", described["name"], len(channels), remedy)
    model = {
        "channels": channels[0] if len(channels) == 1 else list(channels),
        "num_classes": num_classes,
        "seed": seed,
    }
    return _completed(described, model)


def _completed(described: Mapping[str, Any], model: Mapping[str, Any]) -> dict[str, Any]:
    """Add the arguments that follow from the model, also to a pool within."""
    known = POOLS[described["name"]].arguments
    completed = {k: v for k, v in model.items() if k in known} | dict(described)
    if "pool" in described:
        completed["pool"] = _completed(described["pool"], model)
    return completed


def describe_pool(op: str, pool: Any) -> dict[str, Any]:
    """Describe a pool of this package in normal form, so that equal models give equal bytes."""
    name = type(pool).__name__
    if not is_of_package(pool):
        known = ", ".join(POOLS)
        remedy = "Save a model with a custom pool by your framework's own functions."
        refuse(ValueError, op, f"the pool of a portable file must be one of {known}", name, remedy)
    found: dict[str, Any] = {"name": name}
    row = POOLS[name]
    for argument, (kind, default) in row.arguments.items():
        value = getattr(pool, argument)
        if argument == "pool":
            value = describe_pool(op, value)
        if argument not in row.optional or value != default:
            found[argument] = kind.normalize(value) if kind.accepts(value) else value
    return found


def descriptor_size(pool: Any, streams: Streams, num_classes: int) -> int | None:
    """Check the pool, and return its descriptor's length; None for a pool that gives logits."""
    remedy = "Make the pool for the feature maps and classes of the model."
    if is_of_package(pool) and is_of_package(getattr(pool, "pool", pool)):
        check_pooling("BCNN", describe_pool("BCNN", pool), streams.pooled, num_classes, remedy)
    else:
        name = type(pool).__name__
        own = {k: getattr(pool, k) for k in ("channels", "num_classes") if hasattr(pool, k)}
        _check_sizes("BCNN", name, own, streams.pooled, num_classes, remedy)
    return None if hasattr(pool, "num_classes") else pool.descriptor_size(*streams.pooled)


def check_pool(pool: Any, framework: Framework) -> None:
    """TypeError or ValueError unless `pool` is a layer that a model can pool with."""
    whole = isinstance(pool, framework.pool_class) and not isinstance(pool, type)
    if not whole or not (hasattr(pool, "descriptor_size") or hasattr(pool, "num_classes")):
        invariant = "pool must be a layer instance with descriptor_size, or a name"
        remedy = "Pass an instance such as BilinearPool(), or its name."
        refuse(TypeError, "BCNN", invariant, repr(pool), remedy)
    own = "channels_last" if framework.channels_last else "channels_first"
    if (layout := getattr(pool, "data_format", own)) != own:
        remedy = "Make the pool with it; the feature maps of a BCNN have this layout."
        refuse(ValueError, "BCNN", f"pool must have data_format={own!r}", repr(layout), remedy)


def check_learned(pool: Any, dtypes: Mapping[str, str], dtype: str) -> None:
    """ValueError for a pool of this package whose weights have another dtype than the model."""
    for name, found in dtypes.items() if is_of_package(pool) else ():
        if found != dtype:
            invariant = f"{name} of {type(pool).__name__} must be of the model's dtype {dtype}"
            refuse(ValueError, "BCNN", invariant, found, "Make the pool with that dtype.")


def check_descriptors(pool: Any) -> None:
    """ValueError for a pool that gives logits."""
    if hasattr(pool, "num_classes"):
        invariant = "descriptors need a pool that is followed by a linear classifier"
        received = f"a {type(pool).__name__}, which gives logits"
        refuse(ValueError, "BCNN", invariant, received, "Call the model itself.")


def remake_pool(pool: Any, make: MakeLayer, num_classes: int, seed: int | None) -> Any:
    """Make a pool that gives logits again, for other classes; return any other pool as it is."""
    op = "reset_classifier"
    if not hasattr(pool, "num_classes"):
        return pool
    if not is_of_package(pool):
        invariant = "the classifier must be linear, or a pool of this package"
        remedy = "Build a new BCNN with your pool."
        refuse(TypeError, op, invariant, f"a {type(pool).__name__}", remedy)
    described = describe_pool(op, pool) | {"num_classes": num_classes, "seed": seed}
    return presets.make_layer(described, make)


def table_sizes(pool: Any, prefix: str = "pool.") -> dict[str, int]:
    """Canonical names of the random tables of a pool -> the dim of their layer."""
    if is_of_package(pool) and hasattr(pool, "pool"):
        return table_sizes(pool.pool, f"{prefix}pool.")
    if not is_of_package(pool) or not hasattr(type(pool), "tables"):
        return {}
    names = ("h1", "s1", "h2", "s2") if pool.method == "tensor_sketch" else ("w1", "w2")
    return {prefix + name: pool.dim for name in names}


def is_of_package(pool: Any) -> bool:
    return type(pool).__module__.startswith("bilinear.") and type(pool).__name__ in POOLS
