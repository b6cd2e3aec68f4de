"""The streams of a B-CNN: its backbones, and the feature maps that they give."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from ..contract import Spec, check_feature_maps, check_images, refuse
from .plans import (
    BACKBONES,
    CHANNELS,
    IN_CHANNELS,
    KNOWN,
    TAPS,
    Shape,
    are_taps,
    is_count,
    least_side,
    tapped,
)

Channels = int | Sequence[int | None] | None
Taps = Sequence[str] | None
AUTO = "auto"
Projected = int | Literal["auto"] | None
"""Channels after a projection; ``"auto"`` projects only what a pool would make too long."""
STREAMS = ("backbone", "backbone_b")
"""The attributes of a `BCNN`, and its arguments, for the first and the second stream."""


class StreamArguments(NamedTuple):
    """The arguments of `BCNN` about its streams."""

    backbone: Any
    backbone_b: Any
    channels: Channels
    taps: Taps
    projection: Projected
    in_channels: int | None = None


class Streams(NamedTuple):
    """The backbones of a B-CNN and the feature maps that its pool receives."""

    names: tuple[str | None, ...]
    """The name of the backbone of each stream, one or two; None for a custom module."""
    channels: tuple[int, ...]
    """The channels of every feature map: one per stream, or all maps of a single stream."""
    taps: tuple[str, ...] | None = None
    """The feature maps that are taken from a named backbone; None takes its last one."""
    projection: int | None = None
    """The channels that each stream is projected to; None for no projection."""
    in_channels: int = IN_CHANNELS
    """The channels of the images."""

    @property
    def pair(self) -> tuple[str | None, str | None]:
        """Both names; the second is None also where there is one stream."""
        return self.names[0], self.names[1] if len(self.names) == 2 else None

    @property
    def pooled(self) -> tuple[int, ...]:
        """The channels of the feature maps that the pool receives."""
        return self.channels if self.projection is None else tuple(d for d, _ in self.projections)

    @property
    def projections(self) -> tuple[Shape, ...]:
        """The shapes of the projections' weights, (dim, channels)."""
        return () if self.projection is None else tuple((self.projection, c) for c in self.channels)

    def check_images(self, images: Spec, *, channels_first: bool) -> None:
        """Raise ValueError or TypeError for images that the named backbones cannot take."""
        channels = self.in_channels if any(self.names) else None
        named = (name for name in self.names if name is not None)
        least = max((least_side(name, self.taps) for name in named), default=1)
        check_images(images, channels_first=channels_first, channels=channels, least=least)

    def check_maps(self, maps: Sequence[Spec], *, channels_first: bool) -> None:
        """Raise ValueError for feature maps that the model was not made for."""
        check_feature_maps(maps, self.channels, channels_first=channels_first)


def as_maps(result: Any) -> tuple[Any, ...]:
    """Return the result of a backbone, one map or several, as a tuple of maps."""
    return tuple(result) if isinstance(result, (tuple, list)) else (result,)


def resolve_streams(given: StreamArguments, module: type, module_name: str) -> Streams:
    """Check the arguments; `module` is the framework's module class, of that public name."""
    backbone, backbone_b, channels, taps, projection, images = given
    names = (_name("backbone", backbone, module, module_name),)
    if backbone_b is not None:
        names = names[0], _name("backbone_b", backbone_b, module, module_name)
    if taps is not None:
        _check_taps(names, taps)
    known = _known_channels(names, taps)
    listed: tuple[Any, ...] = (channels,) * len(known)
    if isinstance(channels, (tuple, list)):
        listed = tuple(channels)
    if names == (None,) and listed:
        known *= len(listed)
    if len(listed) != len(known) or any(c is not None and not is_count(c) for c in listed):
        invariant = f"channels must be a positive integer, or one for each of {len(known)} maps"
        remedy = "Pass the number of channels of the feature maps; for two streams, a pair."
        refuse(ValueError, "BCNN", invariant, repr(channels), remedy)
    found = tuple(
        _channels(min(i, len(names) - 1), names, *pair)
        for i, pair in enumerate(zip(known, listed, strict=True))
    )
    if images is not None and not is_count(images):
        invariant = "in_channels must be a positive integer, the channels of the images"
        refuse(ValueError, "BCNN", invariant, repr(images), "Leave it out for color images.")
    taken = None if taps is None else tuple(taps)
    streams = Streams(names, found, taken, in_channels=IN_CHANNELS if images is None else images)
    return _with_projection(streams, None if projection == AUTO else projection)


def _name(argument: str, backbone: object, module: type, module_name: str) -> str | None:
    """The name of a named backbone; None for a custom module."""
    if isinstance(backbone, module):
        return None
    if isinstance(backbone, str) and backbone in BACKBONES:
        return backbone
    remedy = f"Pass one of the names, or a custom {module_name} with channels=."
    error = ValueError if isinstance(backbone, str) else TypeError
    invariant = f"{argument} must be a {module_name} or one of {KNOWN}"
    refuse(error, "BCNN", invariant, repr(backbone), remedy)


def _check_taps(names: tuple[str | None, ...], taps: object) -> None:
    if len(names) == 2:
        remedy = "Leave taps or backbone_b out."
        invariant = "taps must be those of a single stream"
        refuse(ValueError, "BCNN", invariant, "taps and backbone_b", remedy)
    if names[0] is None:
        remedy = "Return the maps of a custom backbone as a tuple, and pass channels= as a tuple."
        invariant = "taps must be those of a named backbone"
        refuse(ValueError, "BCNN", invariant, f"{taps!r} for a custom module", remedy)
    known = TAPS[names[0]]
    if not are_taps(names[0], taps):
        invariant = f"taps must be different names among {', '.join(known)}"
        remedy = f"Choose among the feature maps of {names[0]}."
        refuse(ValueError, "BCNN", invariant, repr(taps), remedy)


def _known_channels(names: tuple[str | None, ...], taps: Taps) -> tuple[int | None, ...]:
    """The channels of the maps of named backbones; None for custom modules."""
    if taps is not None and names[0] is not None:
        return tuple(tapped(names[0], taps).values())
    return tuple(None if name is None else CHANNELS[name] for name in names)


def _channels(
    stream: int, names: tuple[str | None, ...], known: int | None, given: int | None
) -> int:
    """The channels of a feature map of the first or the second stream."""
    if known is not None:
        if given not in (None, known):
            remedy = "Leave channels out for a named backbone, or give the pair."
            invariant = f"{names[stream]} has {known} channels"
            refuse(ValueError, "BCNN", invariant, f"{given}", remedy)
        return known
    if given is None:
        invariant = f"channels is required where {STREAMS[stream]} is a custom module"
        remedy = "Pass the number of channels of its feature maps."
        refuse(ValueError, "BCNN", invariant, "None", remedy)
    return given


def _with_projection(streams: Streams, projection: object) -> Streams:
    if projection is None:
        return streams
    if not isinstance(projection, int) or not is_count(projection):
        invariant = "projection must be a positive integer, 'auto' or None"
        remedy = "Pass the number of channels that each stream is projected to."
        refuse(ValueError, "BCNN", invariant, repr(projection), remedy)
    if len(streams.channels) != len(streams.names):
        invariant = "projection must be None for a stream of several maps"
        remedy = "Pools of several maps project them by themselves."
        refuse(ValueError, "BCNN", invariant, f"{len(streams.channels)} maps", remedy)
    return streams._replace(projection=projection)
