"""Between a model and its file: what every door's `save` and `load` have in common."""

import os
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from ..contract import Spec, check_layer, refuse
from ..images import Preprocessing
from .arguments import Streams
from .checkpoint import read, write
from .description import Custom, Description

POOLS = {"BilinearPool": ("reduction", "eps", "l2_eps")}
"""Pools a file can carry: class name -> the arguments that make it again."""


class Model(Protocol):
    """What a `BCNN` of any door says of itself."""

    streams: Streams
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
    num_classes, descriptor_size = tensors["classifier.weight"].shape
    classes = model.classes if classes is None else classes
    if isinstance(classes, str):
        remedy = "Pass a list of names."
        refuse(TypeError, op, "classes must be a sequence of names", repr(classes), remedy)
    description = Description(
        backbone=first,
        backbone_b=second,
        num_classes=num_classes,
        descriptor_size=descriptor_size,
        pooling=_pooling(op, model.pool),
        classes=None if classes is None else tuple(classes),
        preprocessing=model.preprocessing if preprocessing is None else preprocessing,
        dtype=tensors["classifier.weight"].dtype.name,
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
        "channels": (channels[0], channels[-1]) if any(channels) else None,
        "seed": None,
        "dtype": description.dtype,
    }


def pool_arguments(path: str | os.PathLike, description: Description) -> dict[str, Any]:
    """The arguments of the described pool; ValueError for one this version does not know."""
    name, op = description.pooling["name"], f"load {os.fsdecode(path)}"
    arguments = {k: v for k, v in description.pooling.items() if k != "name"}
    if name not in POOLS or set(arguments) != set(POOLS[name]):
        known = ", ".join(POOLS)
        received = repr(dict(description.pooling))
        refuse(ValueError, op, f"the pooling must be one of {known}", received, "Upgrade bilinear.")
    check_layer(op, **arguments)
    return arguments


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


def _pooling(op: str, pool: Any) -> dict[str, Any]:
    kind = type(pool).__name__
    if kind not in POOLS or not type(pool).__module__.startswith("bilinear."):
        remedy = "Save a pool of your own by your framework's own way."
        known = ", ".join(POOLS)
        refuse(ValueError, op, f"the pool of a portable file must be {known}", kind, remedy)
    return {"name": kind} | {argument: getattr(pool, argument) for argument in POOLS[kind]}


def _streams(
    op: str, framework: str, streams: Streams, name: str | tuple[str, str] | None
) -> tuple[str | Custom, str | Custom | None]:
    names = name if isinstance(name, tuple) else (name, name)
    described = []
    for own, known, channels in zip(names, streams.names, streams.channels, strict=True):
        if channels is None:
            described.append(None)
        elif known is not None:
            described.append(known)
        elif own is None:
            invariant = "a backbone of your own is saved under a name, which load then shows"
            refuse(ValueError, op, invariant, "name=None", "Pass name=, a pair for two of them.")
        else:
            described.append(Custom(own, framework, channels))
    return described[0], described[1]
