"""How the arguments of `BCNN(...)` become a model, alike in every framework."""

import os
from collections.abc import Callable, Mapping
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np

from .. import presets
from ..contract import Spec, message, refuse
from ..data.images import Preprocessing
from .checkpoint import check_streams, read, read_portable
from .description import DAMAGED, Custom, Description
from .framework import Framework
from .plans import DTYPES, Head, initial_tensors, is_count
from .pools import POOLS, counted, fits
from .state_dict import ReadPth
from .streams import Channels, Streams, Taps, resolve_streams
from .weights import backbone_tensors, stream_weights, weights_preprocessing

MakeLayer = Callable[..., Any]
"""``make(class name, **arguments)`` -> a layer of the framework, in the model's dtype."""


class _Unfilled:
    """The seed of a model whose tensors are all set by whoever builds it: by `load`, or Keras."""


UNFILLED = _Unfilled()


class Parts(NamedTuple):
    """What a `BCNN` is built of."""

    backbone: Any
    backbone_b: Any
    streams: Streams
    num_classes: int
    pool: Any
    descriptor_size: int | None
    """None where the pool gives the logits itself."""
    preprocessing: Preprocessing | None
    drawn: dict[str, np.ndarray]
    """Canonical name -> initial value, of all that does not come from a portable file."""
    source: tuple[str | os.PathLike, Description] | None
    """The portable file that the model starts from."""
    dtype: str

    def tensors(self, specs: Callable[[], Mapping[str, Spec]]) -> dict[str, np.ndarray]:
        """Return the initial tensors; `specs` are those of the model, by canonical name."""
        if self.source is None:
            return self.drawn
        path, description = self.source
        last = "classifier." if description.head.descriptor_size else "pool."
        found = read(path, specs()).tensors
        found = {name: array for name, array in found.items() if not name.startswith(last)}
        return self.drawn | {
            name: array.astype(DTYPES[self.dtype]) if array.dtype.name in DTYPES else array
            for name, array in found.items()
        }


def resolve_parts(
    framework: Framework,
    make: MakeLayer,
    *,
    backbone: Any,
    num_classes: int,
    backbone_b: Any,
    pool: Any,
    projection: int | None,
    taps: Taps,
    weights: Any,
    channels: Channels,
    seed: Any,
    dtype: str,
) -> Parts:
    """Check the arguments of `BCNN` and resolve them, before any layer of the model is built."""
    _check_arguments(num_classes, dtype, seed)
    source, op = read_portable(weights), "BCNN"
    if source is not None:
        op = f"weights {os.fsdecode(weights)}"
        given = {"backbone": backbone, "backbone_b": backbone_b}
        given |= {"projection": projection, "taps": taps and tuple(taps), "channels": channels}
        backbone_b, projection, taps, channels = _from_file(op, framework, source, given)
    streams = resolve_streams(
        backbone,
        backbone_b,
        channels=channels,
        taps=taps,
        projection=projection,
        module=framework.module,
        module_name=framework.module_name,
    )
    made = None
    if (pool is None and source is None) or isinstance(pool, str):
        made = make_described_pool(describe_named_pool(pool, streams, num_classes, seed), make)
    elif pool is not None:
        check_pool(pool, framework.pool_class)
        framework.check_pool(pool)
        made = pool
    if source is None:
        size = descriptor_size(made, streams, num_classes)
        preprocessing = weights_preprocessing(weights, *streams.names)
        head = Head(num_classes, size, streams.projections)
        drawn = _draw(streams, head, weights, seed, dtype, framework.read_pth)
    else:
        made = _pool_of_source(op, make, source, made, isinstance(pool, str), num_classes, seed)
        size = descriptor_size(made, streams, num_classes)
        preprocessing = source.preprocessing
        drawn = draw_classifier(num_classes, size, seed, dtype)
    return Parts(
        backbone,
        backbone_b,
        streams,
        num_classes,
        made,
        size,
        preprocessing,
        drawn,
        None if source is None else (weights, source),
        dtype,
    )


def _check_arguments(num_classes: object, dtype: object, seed: object) -> None:
    check_classes("BCNN", num_classes)
    if dtype not in DTYPES:
        known = ", ".join(DTYPES)
        refuse(
            ValueError, "BCNN", f"dtype must be one of {known}", repr(dtype), "Pass one of them."
        )
    if seed is not UNFILLED:
        check_seed("BCNN", seed)


def check_classes(op: str, num_classes: object) -> None:
    if not is_count(num_classes):
        invariant = "num_classes must be a positive integer"
        refuse(ValueError, op, invariant, repr(num_classes), "Pass the number of classes.")


def check_seed(op: str, seed: object) -> None:
    whole = isinstance(seed, Integral) and not isinstance(seed, bool) and int(seed) >= 0
    if seed is not None and not whole:
        invariant = "seed must be None or an integer from 0 up"
        refuse(ValueError, op, invariant, repr(seed), "None draws other values each time.")


def _draw(
    streams: Streams, head: Head, weights: Any, seed: Any, dtype: str, read_pth: ReadPth | None
) -> dict[str, np.ndarray]:
    """Draw all initial tensors from `seed`, and replace those of backbones by `weights`."""
    if seed is UNFILLED:
        return {}
    tensors = initial_tensors(*streams.pair, head, streams.taps, seed=seed, dtype=dtype)
    if weights is None:
        return tensors
    prefixes = "backbone.", "backbone_b."
    sources = stream_weights(weights, *streams.pair)
    for prefix, name, source in zip(prefixes, streams.pair, sources, strict=True):
        if name is not None and source is not None:
            loaded = backbone_tensors(name, source, read_pth=read_pth)
            named = {prefix + k: v.astype(DTYPES[dtype]) for k, v in loaded.items()}
            tensors |= {k: v for k, v in named.items() if k in tensors}  # taps may cut layers off
    return tensors


def draw_classifier(
    num_classes: int, size: int | None, seed: int | None, dtype: str
) -> dict[str, np.ndarray]:
    """Draw a new linear classifier: normal(0, 0.01) weights and a bias of 0."""
    return initial_tensors(None, None, Head(num_classes, size), seed=seed, dtype=dtype)


def _from_file(
    op: str, framework: Framework, source: Description, given: Mapping[str, Any]
) -> tuple[Any, ...]:
    """Complete the arguments that are None by the file's, and refuse those that contradict it."""
    streams = {"backbone": source.backbone, "backbone_b": source.backbone_b}
    modules = {key: isinstance(given[key], framework.module) for key in streams}
    check_streams(op, source, framework.name, **modules)
    for key, wanted in streams.items():
        absent = key == "backbone_b" and given[key] is None
        if not isinstance(wanted, Custom) and not absent and given[key] != wanted:
            _refuse_contradiction(op, key, given[key], wanted)
    for key in ("projection", "taps"):
        if given[key] not in (None, getattr(source, key)):
            _refuse_contradiction(op, key, given[key], getattr(source, key))
    channels = given["channels"]
    if channels is not None:
        each = (*channels,) if isinstance(channels, (tuple, list)) else (channels,)
        each = each if len(each) > 1 else each * len(source.channels)
        if len(each) != len(source.channels) or any(
            mine not in (None, wanted) for mine, wanted in zip(each, source.channels, strict=True)
        ):
            _refuse_contradiction(op, "channels", channels, source.channels)
    second = given["backbone_b"] if isinstance(source.backbone_b, Custom) else source.backbone_b
    return second, source.projection, source.taps, source.channels


def _pool_of_source(
    op: str,
    make: MakeLayer,
    source: Description,
    given: Any,
    named: bool,
    num_classes: int,
    seed: int | None,
) -> Any:
    """The pool that the file describes, or a `given` one that is equal to it."""
    described = dict(source.pooling)
    if "num_classes" in described:
        described |= {"num_classes": num_classes, "seed": seed}
    made = make_described_pool(described, make)
    if given is None:
        return made
    found, wanted = describe_pool(op, given), describe_pool(op, made)
    if found != wanted if not named else _without_seeds(found) != _without_seeds(wanted):
        _refuse_contradiction(op, "pool", found, wanted)
    return made if named else given


def _refuse_contradiction(op: str, argument: str, given: object, wanted: object) -> None:
    remedy = f"Leave {argument}= out, or pass what the file has."
    refuse(ValueError, op, f"{argument} must be that of the file, {wanted!r}", f"{given!r}", remedy)


# --- pools ---


def describe_named_pool(
    name: str | None, streams: Streams, num_classes: int, seed: int | None
) -> dict[str, Any]:
    """Describe the pool of a class or preset name for a model, default arguments left out.

    Raises: ValueError for an unknown name, or a pool of another number of feature maps.
    """
    name = "BilinearPool" if name is None else name
    if name not in POOLS and name not in presets.PRESETS:
        invariant = "pool must be a layer, or a name among " + ", ".join((*POOLS, *presets.PRESETS))
        refuse(ValueError, "BCNN", invariant, repr(name), "Check the spelling.")
    described = {"name": name} if name in POOLS else describe_preset(presets.recipe(name))
    known, channels = POOLS[described["name"]], streams.pooled
    _check_maps(described["name"], streams)
    given = {
        "channels": channels[0] if len(channels) == 1 else list(channels),
        "num_classes": num_classes,
        "seed": seed,
    }
    return described | {k: v for k, v in given.items() if k in known.arguments}


def describe_preset(preset: presets.Recipe) -> dict[str, Any]:
    arguments = {
        key: describe_preset(value) if isinstance(value, presets.Recipe) else value
        for key, value in preset.arguments.items()
    }
    return {"name": preset.layer} | arguments


def describe_pool(op: str, pool: Any) -> dict[str, Any]:
    """Describe a pool of this package as the portable file does.

    Optional arguments with their default are left out, and each value has the one form of its
    argument, so that equal models give equal bytes.

    Raises: ValueError for a pool that is not of this package.
    """
    kind = type(pool).__name__
    if not _is_of_package(pool):
        known = ", ".join(POOLS)
        remedy = "Save a model with a custom pool by your framework's own functions."
        refuse(ValueError, op, f"the pool of a portable file must be one of {known}", kind, remedy)
    found: dict[str, Any] = {"name": kind}
    known = POOLS[kind]
    for name, (rule, default) in known.arguments.items():
        value = getattr(pool, name)
        if name == "pool":
            value = describe_pool(op, value)
        if name not in known.optional or value != default:
            found[name] = rule.normalize(value) if rule.accepts(value) else value
    return found


def _without_seeds(pooling: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _without_seeds(value) if isinstance(value, Mapping) else value
        for key, value in pooling.items()
        if key != "seed"
    }


def make_described_pool(pooling: Mapping[str, Any], make: MakeLayer) -> Any:
    """Make the described pool; a pool within it is made first."""
    arguments = {k: v for k, v in pooling.items() if k != "name"}
    if "pool" in arguments:
        arguments["pool"] = make_described_pool(arguments["pool"], make)
    return make(pooling["name"], **arguments)


def make_pool_of_file(path: str | os.PathLike, description: Description, make: MakeLayer) -> Any:
    """Make the pool of a file. Raises: ValueError naming the file where it cannot be made."""
    try:
        return make_described_pool(description.pooling, make)
    except (TypeError, ValueError) as error:
        op, invariant = f"load {os.fsdecode(path)}", "it must be possible to make its pool"
        raise ValueError(message(op, invariant, f"{error}", DAMAGED)) from error


def descriptor_size(pool: Any, streams: Streams, num_classes: int) -> int | None:
    """Return the length of the pool's descriptor; None for a pool that gives logits itself.

    Raises: ValueError for a pool that was made for other feature maps or classes.
    """
    kind = type(pool).__name__
    if _is_of_package(pool):
        _check_maps(kind, streams)
    for name, wanted in ("channels", streams.pooled), ("num_classes", num_classes):
        found = getattr(pool, name, wanted)
        if not fits(found, wanted):
            remedy = "Make the pool for the feature maps and classes of the model."
            refuse(ValueError, "BCNN", f"{name} of {kind} must be {wanted}", f"{found}", remedy)
    inner = pool.pool if _is_of_package(pool) and "pool" in POOLS[kind].arguments else None
    if inner is not None and descriptor_size(inner, streams, num_classes) is None:
        received = f"a {type(inner).__name__}, which gives logits"
        remedy = "Use a pool with a descriptor, such as BilinearPool."
        refuse(ValueError, "BCNN", f"the pool of {kind} must give a descriptor", received, remedy)
    return None if hasattr(pool, "num_classes") else pool.descriptor_size(*streams.pooled)


def check_pool(pool: Any, pool_class: type) -> None:
    """TypeError unless `pool` is a layer, of the framework's `pool_class`, to pool with."""
    whole = isinstance(pool, pool_class) and not isinstance(pool, type)
    if not whole or not (hasattr(pool, "descriptor_size") or hasattr(pool, "num_classes")):
        invariant = "pool must be a layer instance with descriptor_size, or a name"
        remedy = "Pass an instance such as BilinearPool(), or its name."
        refuse(TypeError, "BCNN", invariant, repr(pool), remedy)


def check_learned(pool: Any, dtypes: Mapping[str, str], dtype: str) -> None:
    """ValueError for a pool of this package whose weights have another dtype than the model."""
    for name, found in dtypes.items() if _is_of_package(pool) else ():
        if found != dtype:
            invariant = f"{name} of {type(pool).__name__} must be of the model's dtype {dtype}"
            refuse(ValueError, "BCNN", invariant, found, "Make the pool with that dtype.")


def check_descriptors(pool: Any) -> None:
    """ValueError for a pool that gives logits."""
    if hasattr(pool, "num_classes"):
        invariant = "descriptors need a pool that is followed by a linear classifier"
        received = f"a {type(pool).__name__}, which gives logits"
        refuse(ValueError, "BCNN", invariant, received, "Call the model itself.")


def _is_of_package(pool: Any) -> bool:
    return type(pool).__module__.startswith("bilinear.") and type(pool).__name__ in POOLS


def _check_maps(kind: str, streams: Streams) -> None:
    least, most = POOLS[kind].maps
    if not least <= len(streams.pooled) <= most:
        remedy = "Use taps, or a pool for that many feature maps."
        invariant = f"{kind} takes {counted(least, most)}"
        refuse(ValueError, "BCNN", invariant, f"{len(streams.pooled)}", remedy)


def remake_pool(pool: Any, make: MakeLayer, num_classes: int, seed: int | None) -> Any:
    """Make a pool that gives logits again, for other classes; return any other pool as it is.

    Raises: ValueError for an invalid `num_classes` or `seed`; TypeError for a custom pool that
        gives logits.
    """
    op = "reset_classifier"
    check_classes(op, num_classes)
    check_seed(op, seed)
    if not hasattr(pool, "num_classes"):
        return pool
    if not _is_of_package(pool):
        invariant = "the classifier must be linear, or a pool of this package"
        remedy = "Build a new BCNN around your pool."
        refuse(TypeError, op, invariant, f"a {type(pool).__name__}", remedy)
    described = describe_pool(op, pool) | {"num_classes": num_classes, "seed": seed}
    return make_described_pool(described, make)
