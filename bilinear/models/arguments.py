"""What `BCNN(...)` accepts, resolved once for every framework."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..contract import refuse
from .plans import BACKBONES, CHANNELS, DTYPES, initial_tensors
from .weights import backbone_tensors, stream_weights

Channels = int | tuple[int, int] | None


class Streams(NamedTuple):
    """Both streams: their names (None: absent, or the user's own) and channels (None: absent)."""

    names: tuple[str | None, str | None]
    channels: tuple[int, int | None]


def check_arguments(num_classes: object, dtype: object) -> None:
    if not isinstance(num_classes, int) or isinstance(num_classes, bool) or num_classes < 1:
        invariant = "num_classes must be a positive integer"
        refuse(ValueError, "BCNN", invariant, repr(num_classes), "Pass the number of classes.")
    if dtype not in DTYPES:
        known = ", ".join(DTYPES)
        refuse(
            ValueError, "BCNN", f"dtype must be one of {known}", repr(dtype), "Name one of them."
        )


def resolve_streams(
    backbone: object, backbone_b: object, channels: Channels, kind: type, word: str
) -> Streams:
    """Names and channels of the streams; `kind` is the framework's module class, called `word`."""
    names = _name("backbone", backbone, kind, word), None
    if backbone_b is not None:
        names = names[0], _name("backbone_b", backbone_b, kind, word)
    given = channels if isinstance(channels, tuple) else (channels, channels)
    if len(given) != 2 or any(c is not None and not _positive(c) for c in given):
        remedy = "It is the number of channels of the feature maps; for two streams, a pair."
        refuse(
            ValueError,
            "BCNN",
            "channels must be a positive integer or a pair",
            repr(channels),
            remedy,
        )
    first = _channels("backbone", names[0], given[0])
    second = None if backbone_b is None else _channels("backbone_b", names[1], given[1])
    return Streams(names, (first, second))


def _name(argument: str, backbone: object, kind: type, word: str) -> str | None:
    """The name of a named backbone, None for a module of the user's own."""
    if isinstance(backbone, kind):
        return None
    if isinstance(backbone, str) and backbone in BACKBONES:
        return backbone
    known = " or ".join(repr(name) for name in BACKBONES)
    remedy = f"Pass one of the names, or your own {word} with channels=."
    error = ValueError if isinstance(backbone, str) else TypeError
    refuse(error, "BCNN", f"{argument} must be {known} or a {word}", repr(backbone), remedy)


def _channels(argument: str, name: str | None, given: int | None) -> int:
    if name is not None:
        known = CHANNELS[name]
        if given not in (None, known):
            remedy = "Leave channels out for a named backbone, or give the pair."
            refuse(ValueError, "BCNN", f"{name} has {known} channels", f"{given}", remedy)
        return known
    if given is None:
        invariant = f"channels is required where {argument} is a network of your own"
        refuse(ValueError, "BCNN", invariant, "None", "Pass the channels of its feature maps.")
    return given


def _positive(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def starting_tensors(
    streams: Streams,
    num_classes: int,
    descriptor_size: int,
    *,
    weights: Any,
    seed: int | None,
    dtype: str,
    read_pth: Callable[[str], dict[str, np.ndarray]] | None = None,
) -> dict[str, np.ndarray]:
    """Canonical name -> array of a new model: drawn from `seed`, then overlaid by `weights`.

    The classifier does not depend on `weights`. With ``seed=None`` nothing is drawn, for a
    caller who fills the model from a file.
    """
    if seed is None:
        return {}
    tensors = initial_tensors(*streams.names, num_classes, descriptor_size, seed=seed, dtype=dtype)
    if weights is None:
        return tensors
    chosen = stream_weights(weights, *streams.names)
    for prefix, name, source in zip(
        ("backbone.", "backbone_b."), streams.names, chosen, strict=True
    ):
        if name is not None and source is not None:
            loaded = backbone_tensors(name, source, read_pth=read_pth)
            tensors |= {prefix + k: v.astype(DTYPES[dtype]) for k, v in loaded.items()}
    return tensors


def least_size(streams: Streams) -> int:
    """The smallest image that leaves one location in every named stream."""
    return 16 if "vgg16" in streams.names else 1
