"""Between a model and its file: what every door's `save` and `load` have in common."""

import os
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from ..contract import Spec, message, refuse
from ..data.images import Preprocessing
from .arguments import Streams
from .checkpoint import read, write
from .chosen import described_pool
from .description import DAMAGED, Custom, Description
from .plans import DTYPES
from .pools import POOLS


class Model(Protocol):
    """What a `BCNN` of any door says of itself."""

    streams: Streams
    num_classes: int
    pool: Any
    classes: tuple[str, ...] | None
    preprocessing: Preprocessing | None

    def assign(self, tensors: Mapping[str, np.ndarray]) -> None: ...


def save_model(
    framework: str,
    model: Model,
    path: str | os.PathLike,
    tensors: Mapping[str, np.ndarray],
    *,
    momentum: Mapping[str, np.ndarray] | None,
    classes: Any,
    preprocessing: Preprocessing | None,
    name: str | tuple[str, str] | None,
) -> None:
    """Write `model`, whose canonical tensors are `tensors`, as the door of `framework`."""
    op = f"save {os.fsdecode(path)}"
    first, second = _streams(op, framework, model.streams, name)
    pooling = _pooling(op, model.pool)
    classes = model.classes if classes is None else classes
    if isinstance(classes, str):
        remedy = "Pass a list of names."
        refuse(TypeError, op, "classes must be a sequence of names", repr(classes), remedy)
    description = Description(
        backbone=first,
        backbone_b=second,
        num_classes=model.num_classes,
        descriptor_size=int(model.pool.descriptor_size(*model.streams.pooled)),
        pooling=pooling,
        classes=None if classes is None else tuple(classes),
        preprocessing=model.preprocessing if preprocessing is None else preprocessing,
        dtype=_dtype(tensors),
        projection=model.streams.projection,
        taps=model.streams.taps,
    )
    write(path, description, tensors, momentum)


def model_arguments(description: Description, *, backbone: Any, backbone_b: Any) -> dict[str, Any]:
    """The arguments of `BCNN`, but for its pool, that build the described model unfilled."""
    streams = [s for s in (description.backbone, description.backbone_b) if s is not None]
    given = [backbone, backbone_b]
    modules = [m if isinstance(s, Custom) else s for s, m in zip(streams, given, strict=False)]
    channels = [s.channels if isinstance(s, Custom) else None for s in streams]
    return {
        "backbone": modules[0],
        "backbone_b": modules[1] if len(modules) == 2 else None,
        "num_classes": description.num_classes,
        "projection": description.projection,
        "taps": description.taps,
        "channels": tuple(channels) if len(channels) == 2 else channels[0],
        "seed": None,
        "dtype": description.dtype,
    }


def pool_of(path: str | os.PathLike, description: Description, make: Callable[..., Any]) -> Any:
    """The described pool by ``make(class name, **arguments)``, or an error that names the file."""
    try:
        return described_pool(description.pooling, make)
    except (TypeError, ValueError) as error:
        op, invariant = f"load {os.fsdecode(path)}", "its pool must be one that can be made"
        raise ValueError(message(op, invariant, f"{error}", DAMAGED)) from error


def fill(
    model: Model,
    path: str | os.PathLike,
    description: Description,
    expected: Mapping[str, Spec],
    momentum: bool,
    as_buffer: Callable[[str, np.ndarray], Any],
) -> Any:
    """`model` with what its file holds, which must be `expected` exactly: all of it or nothing.

    With `momentum`, model and buffers, each as ``as_buffer(name, array)`` makes it.
    """
    checkpoint = read(path, expected, momentum)
    model.assign(checkpoint.tensors)
    model.classes = description.classes
    model.preprocessing = description.preprocessing
    if checkpoint.momentum is None:
        return model
    return model, {name: as_buffer(name, array) for name, array in checkpoint.momentum.items()}


def _dtype(tensors: Mapping[str, np.ndarray]) -> str:
    """Of the parameters that give the logits: the classifier's, or those of a pool that is one."""
    last = "classifier.weight" if "classifier.weight" in tensors else "pool."
    names = (array.dtype.name for name, array in tensors.items() if name.startswith(last))
    return next(name for name in names if name in DTYPES)


def _pooling(op: str, pool: Any) -> dict[str, Any]:
    """What makes the pool again, without what is optional and has its default.

    Numbers have the form of their argument, whatever they were given as: equal models give equal
    bytes.
    """
    kind = type(pool).__name__
    if kind not in POOLS or not type(pool).__module__.startswith("bilinear."):
        remedy = "Save a pool of your own by your framework's own way."
        known = ", ".join(POOLS)
        refuse(ValueError, op, f"the pool of a portable file must be one of {known}", kind, remedy)
    found: dict[str, Any] = {"name": kind}
    optional = POOLS[kind].optional
    for name, (rule, default) in POOLS[kind].arguments.items():
        value = getattr(pool, name)
        if name == "pool":
            value = _pooling(op, value)
        if name not in optional or value != default:
            found[name] = rule.normalize(value) if rule.accepts(value) else value
    return found


def _streams(
    op: str, framework: str, streams: Streams, name: str | tuple[str, str] | None
) -> tuple[str | Custom, str | Custom | None]:
    names = name if isinstance(name, tuple) else (name, name)
    shared = streams.channels if len(streams.channels) > len(streams.names) else None
    described: list[str | Custom] = []
    for own, stream, channels in zip(names, streams.names, streams.channels, strict=False):
        if stream is not None:
            described.append(stream)
        elif own is None:
            invariant = "a backbone of your own is saved under a name, which load then shows"
            refuse(ValueError, op, invariant, "name=None", "Pass name=, a pair for two of them.")
        else:
            described.append(Custom(own, framework, shared or channels))
    return described[0], described[1] if len(described) == 2 else None
