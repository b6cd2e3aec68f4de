"""How the arguments of `BCNN(...)` become a model, alike in every framework."""

import os
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from .. import presets
from ..contract import Spec, check_argument, refuse
from ..contract.arguments import COUNT, SEED
from ..data.images import Preprocessing
from .checkpoint import Checkpoint, check_custom, check_streams, read_portable
from .description import Custom, Description
from .framework import Framework
from .plans import DTYPES, Head, initial_tensors
from .pools import (
    MakeLayer,
    check_pool,
    describe_named_pool,
    describe_pool,
    descriptor_size,
    is_of_package,
)
from .state_dict import ReadPth
from .streams import AUTO, STREAMS, StreamArguments, Streams, resolve_streams
from .weights import backbone_tensors, stream_weights, weights_preprocessing


class _Unfilled:
    """The seed of a model whose tensors are all set by whoever builds it: by `load`, or Keras."""


UNFILLED = _Unfilled()


class Parts(NamedTuple):
    """What a `BCNN` is built of."""

    given: StreamArguments
    streams: Streams
    pool: Any
    descriptor_size: int | None
    """None where the pool gives the logits itself."""
    preprocessing: Preprocessing | None
    drawn: dict[str, np.ndarray]
    """Canonical name -> initial value, of all that does not come from a portable file."""
    source: tuple[str, Checkpoint] | None
    """Beginning of error messages, and content of the portable file that the model starts from."""
    dtype: str

    def tensors(self, specs: Callable[[], Mapping[str, Spec]]) -> dict[str, np.ndarray]:
        """Return the initial tensors; `specs` are those of the model, by canonical name."""
        if self.source is None:
            return self.drawn
        op, checkpoint = self.source
        check_custom(op, checkpoint, specs())
        last = "classifier." if checkpoint.description.head.descriptor_size else "pool."
        found = checkpoint.tensors.items()
        found = {name: array for name, array in found if not name.startswith(last)}
        return self.drawn | {
            name: array.astype(DTYPES[self.dtype]) if array.dtype.name in DTYPES else array
            for name, array in found.items()
        }


def resolve_parts(
    framework: Framework,
    make: MakeLayer,
    given: StreamArguments,
    num_classes: int,
    pool: Any,
    weights: Any,
    seed: Any,
    dtype: str,
) -> Parts:
    """Check the arguments of `BCNN` and resolve them, before any layer of the model is built."""
    _check_arguments(num_classes, dtype, seed)
    framework.check_dtype("BCNN", dtype)
    checkpoint, source, op = read_portable(weights), None, "BCNN"
    if checkpoint is not None:
        op, source = f"weights {os.fsdecode(weights)}", checkpoint.description
        given = _from_file(op, framework, source, given)
    streams = resolve_streams(given, framework.module, framework.module_name)
    if source is not None and streams.channels != source.channels:
        _refuse_contradiction(op, "channels", streams.channels, source.channels)
    named = isinstance(pool, (str, Mapping)) or (pool is None and source is None)
    if not named and pool is not None:
        check_pool(pool, framework)
    made = pool
    if named:
        made = presets.make_layer(describe_named_pool(pool, streams, num_classes, seed), make)
    if given.projection == AUTO:
        streams = _project_wide(streams, made, num_classes)
    if source is None:
        size = descriptor_size(made, streams, num_classes)
        preprocessing = weights_preprocessing(weights, *streams.pair, streams.in_channels)
        head = Head(num_classes, size, streams.projections)
        drawn = _draw(streams, head, weights, seed, dtype, framework.read_pth)
    else:
        named = isinstance(pool, (str, Mapping)) and not _has_seed(pool)
        made = _pool_of_source(op, make, source, made, named, num_classes, seed)
        size = descriptor_size(made, streams, num_classes)
        preprocessing = source.preprocessing
        drawn = draw_classifier(num_classes, size, seed, dtype)
    origin = None if checkpoint is None else (op, checkpoint)
    return Parts(given, streams, made, size, preprocessing, drawn, origin, dtype)


PROJECTION = 256
"""Channels that ``projection="auto"`` projects to: those of iSQRT-COV (Li et al. 2018)."""
LONGEST = 2**19
"""Length of a descriptor above which it projects: twice that of 512 channels."""


def _project_wide(streams: Streams, pool: Any, num_classes: int) -> Streams:
    """Project streams whose descriptor would be longer than `LONGEST`, and warn about it.

    User-defined pools, and those with tensors for the channels of their maps, are left as they are.
    """
    fixed = any(hasattr(part, "channels") for part in (pool, getattr(pool, "pool", pool)))
    if fixed or not is_of_package(pool) or len(streams.channels) != len(streams.names):
        return streams
    size = descriptor_size(pool, streams, num_classes)
    if size is None or size <= LONGEST:
        return streams
    wide = " and ".join(f"{c:,}" for c in streams.channels)
    warnings.warn(
        f"BCNN: projection={PROJECTION} is used, because feature maps of {wide} channels give a "
        f"descriptor of {size:,} values, and a classifier of {num_classes:,} classes on it has "
        f"{size * num_classes:,} weights. Pass projection={PROJECTION} to confirm, or "
        "projection=None for the whole descriptor.",
        stacklevel=4,
    )
    return streams._replace(projection=PROJECTION)


def _check_arguments(num_classes: object, dtype: object, seed: object) -> None:
    check_classes("BCNN", num_classes, None if seed is UNFILLED else seed)
    if dtype not in DTYPES:
        invariant = f"dtype must be one of {', '.join(DTYPES)}"
        refuse(ValueError, "BCNN", invariant, repr(dtype), "Pass one of them.")


def check_classes(op: str, num_classes: object, seed: object = None) -> None:
    """Raise ValueError or TypeError for an invalid number of classes or seed."""
    check_argument(op, "num_classes", num_classes, COUNT)
    check_argument(op, "seed", seed, SEED)


def _draw(
    streams: Streams, head: Head, weights: Any, seed: Any, dtype: str, read_pth: ReadPth | None
) -> dict[str, np.ndarray]:
    """Draw all initial tensors from `seed`, and replace those of backbones by `weights`."""
    if seed is UNFILLED:
        return {}
    networks = *streams.pair, head, streams.taps, streams.in_channels
    tensors = initial_tensors(*networks, seed=seed, dtype=dtype)
    if weights is None:
        return tensors
    prefixes = "backbone.", "backbone_b."
    sources = stream_weights(weights, *streams.pair)
    for prefix, name, source in zip(prefixes, streams.pair, sources, strict=True):
        if name is not None and source is not None:
            loaded = backbone_tensors(name, source, streams.in_channels, read_pth=read_pth)
            named = {prefix + k: v.astype(DTYPES[dtype]) for k, v in loaded.items()}
            tensors |= {k: v for k, v in named.items() if k in tensors}  # taps may cut layers off
    return tensors


def draw_classifier(
    num_classes: int, size: int | None, seed: int | None, dtype: str
) -> dict[str, np.ndarray]:
    """Draw a new linear classifier: normal(0, 0.01) weights and a bias of 0."""
    return initial_tensors(None, None, Head(num_classes, size), seed=seed, dtype=dtype)


def _from_file(
    op: str, framework: Framework, source: Description, given: StreamArguments
) -> StreamArguments:
    """Complete the arguments that are None by the file's, and refuse those that contradict it."""
    modules = {key: isinstance(getattr(given, key), framework.module) for key in STREAMS}
    check_streams(op, source, framework.name, **modules)
    given = given._replace(taps=given.taps and tuple(given.taps))
    for key in (*STREAMS, "projection", "taps", "in_channels"):
        value, wanted = getattr(given, key), getattr(source, key)
        absent = key != "backbone" and value in (None, AUTO)
        if not isinstance(wanted, Custom) and not absent and value != wanted:
            _refuse_contradiction(op, key, value, wanted)
    second = given.backbone_b if isinstance(source.backbone_b, Custom) else source.backbone_b
    channels = source.channels if given.channels is None else given.channels
    return StreamArguments(
        given.backbone, second, channels, source.taps, source.projection, source.in_channels
    )


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
    made = presets.make_layer(described, make)
    if given is None:
        return made
    found, wanted = describe_pool(op, given), describe_pool(op, made)
    if found != wanted if not named else _without_seeds(found) != _without_seeds(wanted):
        _refuse_contradiction(op, "pool", found, wanted)
    return made if named else given


def _has_seed(pool: object) -> bool:
    """Whether the description of a pool, or of the one within, has a seed."""
    return isinstance(pool, Mapping) and ("seed" in pool or _has_seed(pool.get("pool")))


def _refuse_contradiction(op: str, argument: str, given: object, wanted: object) -> None:
    remedy = f"Leave {argument}= out, or pass what the file has."
    refuse(ValueError, op, f"{argument} must be that of the file, {wanted!r}", f"{given!r}", remedy)


def _without_seeds(pooling: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _without_seeds(value) if isinstance(value, Mapping) else value
        for key, value in pooling.items()
        if key != "seed"
    }
