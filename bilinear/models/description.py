"""The metadata of the portable file: plain data that describes a model, and its JSON."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, NoReturn

from .. import __version__
from ..contract import refuse
from ..contract.renamed_arguments import RENAMED, upgrade_arguments
from ..data.images import Preprocessing
from . import pools
from .import_path import is_import_path
from .plans import CHANNELS, DTYPES, IN_CHANNELS, Head, are_taps, is_count, tapped
from .streams import STREAMS, Streams

FORMAT = "bilinear-bcnn"
VERSION = 4

DAMAGED = "The file is damaged or was not written by save; fetch or save it again."
_ADDED = {2: {"projection", "taps"}, 4: {"in_channels"}}
"""Version -> the fields that it added."""
_FIRST_POOL = {"name", "reduction", "eps", "l2_eps"}
"""The entries of the only pool that version 1 has."""
_FIRST_BACKBONES = ("vgg16", "resnet18")
"""The named backbones of versions before 4."""
_NAMED_IN_3 = {name: set(renamed.values()) for name, renamed in RENAMED.items()}
"""Class name -> the arguments that have other names in versions before 3."""


class Custom(NamedTuple):
    """A stream on a custom module; `channels` is a tuple where it gives several maps."""

    name: str
    framework: str
    channels: int | tuple[int, ...]


@dataclass(frozen=True)
class Description:
    """The description of a model in a file; `write` and `from_json` check it."""

    backbone: str | Custom
    backbone_b: str | Custom | None
    num_classes: int
    descriptor_size: int
    pooling: Mapping[str, Any]
    classes: tuple[str, ...] | None = None
    preprocessing: Preprocessing | None = None
    dtype: str = "float32"
    library_version: str = __version__
    projection: int | None = None
    taps: tuple[str, ...] | None = None
    in_channels: int = IN_CHANNELS

    @property
    def streams(self) -> dict[str, str | Custom]:
        """Prefix of the tensors -> stream, for one stream or two."""
        second = {} if self.backbone_b is None else {"backbone_b.": self.backbone_b}
        return {"backbone.": self.backbone} | second

    @property
    def import_paths(self) -> dict[str, str]:
        """Argument of `BCNN` -> import path, of the custom backbones that have one as name."""
        streams = zip(STREAMS, (self.backbone, self.backbone_b), strict=True)
        named = {key: stream.name for key, stream in streams if isinstance(stream, Custom)}
        return {key: name for key, name in named.items() if is_import_path(name)}

    @property
    def framework(self) -> str | None:
        """The only framework that opens the file, because a backbone is custom; None for any."""
        custom = (stream for stream in self.streams.values() if isinstance(stream, Custom))
        return next((stream.framework for stream in custom), None)

    @property
    def channels(self) -> tuple[int, ...]:
        """The channels of every feature map, before projections."""
        if self.taps is not None and isinstance(self.backbone, str):
            return tuple(tapped(self.backbone, self.taps).values())
        found: list[int] = []
        for stream in self.streams.values():
            given = CHANNELS[stream] if isinstance(stream, str) else stream.channels
            found += given if isinstance(given, tuple) else (given,)
        return tuple(found)

    @property
    def resolved(self) -> Streams:
        """The backbones and feature maps as `resolve_streams` gives them."""
        names = tuple(s if isinstance(s, str) else None for s in self.streams.values())
        return Streams(names, self.channels, self.taps, self.projection, self.in_channels)

    @property
    def head(self) -> Head:
        size = None if pools.is_classifier(self.pooling) else self.descriptor_size
        return Head(self.num_classes, size, self.resolved.projections)

    @property
    def version(self) -> int:
        """The lowest format version that can express this, so that older readers can open it."""
        streams = self.streams.values()
        many = any(isinstance(s, Custom) and isinstance(s.channels, tuple) for s in streams)
        added = self.projection is not None or self.taps is not None or many
        first = self.pooling.get("name") == "BilinearPool" and self.pooling.keys() == _FIRST_POOL
        later = any(isinstance(s, str) and s not in _FIRST_BACKBONES for s in streams)
        if later or self.in_channels != IN_CHANNELS:
            return 4
        if _needs_3(self.pooling):
            return 3
        return 1 if first and not added else 2

    def check(self, op: str, remedy: str) -> None:
        """Raise ValueError for the first invalid field."""
        for holds, invariant, received in _rules(self):
            if not holds:
                refuse(ValueError, op, invariant, _shortened(f"{received!r}"), remedy)
        pools.check_pooling(op, self.pooling, self.resolved.pooled, self.num_classes, remedy)
        size = pools.size(self.pooling, self.resolved.pooled)
        if self.descriptor_size != size:
            received = f"{self.descriptor_size}"
            refuse(ValueError, op, f"descriptor_size must be {size}", received, remedy)

    def to_json(self) -> str:
        data = {"format": FORMAT, "format_version": self.version}
        data |= {key: getattr(self, key) for key in _keys(self.version) - data.keys()}
        for key in ("backbone", "backbone_b"):
            if isinstance(data[key], Custom):
                name, framework, channels = data[key]
                data[key] = {"custom": name, "framework": framework, "channels": channels}
        data["pooling"] = dict(self.pooling)
        data["preprocessing"] = self.preprocessing and self.preprocessing.to_dict()
        return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str, op: str = "load") -> "Description":
        """Parse what `to_json` wrote. Raises: ValueError for other text or a newer version."""
        try:
            data = json.loads(text, parse_int=_parse_int, parse_constant=_refuse_constant)
            return cls._from_data(data, op)
        except json.JSONDecodeError as error:
            refuse(ValueError, op, "its description must be JSON", f"{error}", DAMAGED)
        except RecursionError:
            invariant = "its description must be JSON without deep nesting"
            refuse(ValueError, op, invariant, "deep lists or objects", DAMAGED)

    @classmethod
    def _from_data(cls, data: Any, op: str) -> "Description":
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            received = repr(data.get("format")) if isinstance(data, dict) else type(data).__name__
            refuse(ValueError, op, f"its description must be of format {FORMAT}", received, DAMAGED)
        version = data.get("format_version")
        if is_count(version) and version > VERSION:
            written = f"version {version}, written by bilinear {data.get('library_version')}"
            invariant = f"this bilinear {__version__} reads format versions up to {VERSION}"
            refuse(ValueError, op, invariant, written, pools.UPGRADE)
        keys = _keys(version)
        if not is_count(version) or data.keys() != keys:
            invariant = f"a description of version {version!r} must have exactly its fields"
            wrong = sorted(data.keys() ^ keys) or f"version {version!r}"
            refuse(ValueError, op, invariant, f"missing or unknown: {wrong}", DAMAGED)
        del data["format"], data["format_version"]
        for key in ("backbone", "backbone_b"):
            if isinstance(data[key], dict) and data[key].keys() == {"custom", *Custom._fields[1:]}:
                name, framework, channels = (data[key][p] for p in ("custom", *Custom._fields[1:]))
                data[key] = Custom(name, framework, _tuple(channels))
        given = data["pooling"]
        if version < 3:
            data["pooling"] = _upgraded(given)
        for key in data.keys() & {"classes", "taps"}:
            data[key] = _tuple(data[key])
        if data["preprocessing"] is not None:
            try:
                data["preprocessing"] = Preprocessing.from_dict(data["preprocessing"])
            except ValueError as error:
                refuse(ValueError, op, "its preprocessing must be valid", f"{error}", DAMAGED)
        description = cls(**data)
        description.check(op, DAMAGED)
        needed = description.version
        if data["pooling"] != given:  # it was written before version 3
            needed = 2 if needed == 3 else needed
        if needed > version:
            invariant = f"a file of version {version} must not need a newer one"
            refuse(ValueError, op, invariant, f"what needs version {needed}", DAMAGED)
        return description


def _rules(d: Description) -> Iterator[tuple[bool, str, object]]:
    """Yield (holds, requirement, received); each rule may rely on those before it."""
    streams = list(d.streams.values())
    names = ", ".join(CHANNELS)
    single = len(streams) == 1
    known = all(_is_stream(stream, single) for stream in streams)
    yield known, f"a stream must be {names} or a named custom module", streams
    for name in ("num_classes", "descriptor_size"):
        count = getattr(d, name)
        yield is_count(count), f"{name} must be a positive integer", count
    yield _is_pooling(d.pooling), "pooling must have a name, and finite JSON beside it", d.pooling
    taps = d.taps is None or (
        single and isinstance(d.backbone, str) and are_taps(d.backbone, d.taps)
    )
    yield taps, "taps must be None, or different maps of one named backbone", d.taps
    projection = d.projection is None or (
        is_count(d.projection) and len(d.channels) == len(streams)
    )
    yield projection, "projection must be None, or positive and of one map a stream", d.projection
    if d.classes is not None:
        strings = isinstance(d.classes, tuple) and all(isinstance(c, str) for c in d.classes)
        yield strings, "classes must be a tuple of names", d.classes
        different = len(set(d.classes)) == len(d.classes) == d.num_classes
        yield different, f"classes must be {d.num_classes} different names", d.classes
    is_preprocessing = d.preprocessing is None or isinstance(d.preprocessing, Preprocessing)
    yield is_preprocessing, "preprocessing must be a Preprocessing", d.preprocessing
    yield is_count(d.in_channels), "in_channels must be a positive integer", d.in_channels
    if d.preprocessing is not None:
        found, invariant = d.preprocessing.mean, f"mean must have {d.in_channels} values"
        yield len(found) == d.in_channels, f"{invariant}, one for each of in_channels", found
    is_dtype = isinstance(d.dtype, str) and d.dtype in DTYPES
    yield is_dtype, f"dtype must be one of {', '.join(DTYPES)}", d.dtype
    version = d.library_version
    yield isinstance(version, str), "library_version must be text", version


def _shortened(text: str) -> str:
    return text if len(text) <= 300 else f"{text[:300]}…"


def _parse_int(digits: str) -> int:
    """Return an integer; longer ones could not be printed after a multiplication."""
    if len(digits) > 100:
        raise json.JSONDecodeError("an integer of more than 100 digits", digits[:20], 0)
    return int(digits)


def _refuse_constant(name: str) -> NoReturn:
    raise json.JSONDecodeError("a number that is not finite", name, 0)


def _keys(version: object) -> set[str]:
    names = {"format", "format_version"} | {field.name for field in fields(Description)}
    later = (added for since, added in _ADDED.items() if is_count(version) and version < since)
    return names.difference(*later)


def _needs_3(pooling: Mapping[str, Any]) -> bool:
    """Whether the description of a pool uses an argument name that version 3 brought."""
    inner = pooling.get("pool")
    if pooling.get("seed", 0) is None and pooling["name"] != "CompactBilinearPool":
        return True
    own = pooling.keys() & _NAMED_IN_3.get(str(pooling.get("name")), set())
    return bool(own) or (isinstance(inner, Mapping) and _needs_3(inner))


def _upgraded(pooling: Any) -> Any:
    """The description of a pool from a file before version 3, under the current names."""
    if not _is_pooling(pooling):
        return pooling
    upgraded = upgrade_arguments(pooling["name"], pooling)
    if isinstance(upgraded.get("pool"), Mapping):
        upgraded["pool"] = upgrade_arguments(upgraded["pool"]["name"], upgraded["pool"])
    return upgraded


def _tuple(value: object) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _is_stream(stream: object, single: bool) -> bool:
    """Whether this is a stream; only a single one may have several maps."""
    if not isinstance(stream, Custom):
        return isinstance(stream, str) and stream in CHANNELS
    texts = all(isinstance(text, str) and text for text in stream[:2])
    if not isinstance(stream.channels, tuple):
        return texts and is_count(stream.channels)
    return texts and single and len(stream.channels) > 1 and all(map(is_count, stream.channels))


def _is_pooling(pooling: object, *, within: bool = False) -> bool:
    """Whether this is a pool's name and JSON values, for a known pool or not."""
    if not isinstance(pooling, Mapping) or not isinstance(pooling.get("name"), str):
        return False
    return all(isinstance(k, str) and _is_argument(v, within) for k, v in pooling.items())


def _is_argument(value: object, within: bool) -> bool:
    if isinstance(value, Mapping):
        return not within and _is_pooling(value, within=True)
    if isinstance(value, list):
        return all(isinstance(v, int) and not isinstance(v, bool) for v in value)
    finite = not isinstance(value, float) or math.isfinite(value)
    return value is None or (isinstance(value, (str, int, float)) and finite)
