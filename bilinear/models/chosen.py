"""The pool of a model: one that was given, or made of a name or a description."""

from collections.abc import Callable, Mapping
from typing import Any

from .. import presets
from ..contract import refuse
from .arguments import Streams
from .pools import POOLS, counted, fits


def recipe(
    name: str | None, streams: Streams, num_classes: int, seed: int | None
) -> dict[str, Any]:
    """The description of the pool of a name for a model's maps, with defaults left out.

    Raises: ValueError for a name of neither a class nor a preset, or of a pool of other maps.
    """
    name = "BilinearPool" if name is None else name
    if name not in POOLS and name not in presets.PRESETS:
        invariant = "pool must be a layer, or a name among " + ", ".join((*POOLS, *presets.PRESETS))
        refuse(ValueError, "BCNN", invariant, repr(name), "Spell it as the layer or the preset.")
    chosen = {"name": name} if name in POOLS else _described(presets.recipe(name))
    allowed, channels = POOLS[chosen["name"]], streams.pooled
    _check_maps(chosen["name"], streams)
    given = {
        "channels": channels[0] if len(channels) == 1 else list(channels),
        "num_classes": num_classes,
        "seed": 0 if seed is None else seed,
    }
    return chosen | {k: v for k, v in given.items() if k in allowed.arguments}


def _described(preset: presets.Recipe) -> dict[str, Any]:
    """A preset as a file describes it."""
    arguments = {
        key: _described(value) if isinstance(value, presets.Recipe) else value
        for key, value in preset.arguments.items()
    }
    return {"name": preset.layer} | arguments


def described_pool(pooling: Mapping[str, Any], make: Callable[..., Any]) -> Any:
    """The described pool, by ``make(class name, **arguments)``; one within it is made first."""
    arguments = {k: v for k, v in pooling.items() if k != "name"}
    if "pool" in arguments:
        arguments["pool"] = described_pool(arguments["pool"], make)
    return make(pooling["name"], **arguments)


def descriptor_size(pool: Any, streams: Streams, num_classes: int) -> int | None:
    """Of what a layer gives the classifier of a model; None for one that gives logits itself.

    Raises: ValueError for a layer that was made for other maps or classes than the model's.
    """
    kind = type(pool).__name__
    if _is_ours(pool):
        _check_maps(kind, streams)
    for name, wanted in ("channels", streams.pooled), ("num_classes", num_classes):
        found = getattr(pool, name, wanted)
        if not fits(found, wanted):
            remedy = "The pool must be made for the model's."
            refuse(ValueError, "BCNN", f"{name} of {kind} must be {wanted}", f"{found}", remedy)
    within = pool.pool if _is_ours(pool) and "pool" in POOLS[kind].arguments else None
    if within is not None and descriptor_size(within, streams, num_classes) is None:
        received = f"a {type(within).__name__}, which gives logits"
        remedy = "Pool what a linear classifier sees."
        refuse(ValueError, "BCNN", f"{kind} is of a pool", received, remedy)
    return None if hasattr(pool, "num_classes") else pool.descriptor_size(*streams.pooled)


def check_layer(pool: Any, kind: type) -> None:
    """TypeError unless this is a layer that a model can pool with, of the framework's `kind`."""
    whole = isinstance(pool, kind) and not isinstance(pool, type)
    if not whole or not (hasattr(pool, "descriptor_size") or hasattr(pool, "num_classes")):
        invariant = "pool must be a layer instance with descriptor_size, or a name"
        remedy = "Such as pool=BilinearPool(), or its name."
        refuse(TypeError, "BCNN", invariant, repr(pool), remedy)


def check_learned(pool: Any, dtypes: Mapping[str, str], dtype: str) -> None:
    """ValueError for a layer of this package that learns in another dtype than the model."""
    for name, found in dtypes.items() if _is_ours(pool) else ():
        if found != dtype:
            invariant = f"{name} of {type(pool).__name__} must be of the model's dtype {dtype}"
            refuse(ValueError, "BCNN", invariant, found, "Cast the pool first.")


def _is_ours(pool: Any) -> bool:
    return type(pool).__module__.startswith("bilinear.") and type(pool).__name__ in POOLS


def _check_maps(kind: str, streams: Streams) -> None:
    least, most = POOLS[kind].maps
    if not least <= len(streams.pooled) <= most:
        remedy = "Use taps, or a pool of that many."
        invariant = f"{kind} takes {counted(least, most)}"
        refuse(ValueError, "BCNN", invariant, f"{len(streams.pooled)}", remedy)


def check_descriptors(pool: Any) -> None:
    """ValueError for a pool that gives logits."""
    if hasattr(pool, "num_classes"):
        invariant = "descriptors are what a linear classifier sees"
        received = f"a {type(pool).__name__}, which gives logits"
        refuse(ValueError, "BCNN", invariant, received, "Call the model itself.")
