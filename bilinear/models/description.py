"""What the portable file says of its model beside the numbers: plain data, and its JSON."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeGuard

from .. import __version__
from ..contract import refuse
from ..images import Preprocessing
from .plans import CHANNELS, DTYPES

FORMAT = "bilinear-bcnn"
VERSION = 1

DAMAGED = "The file is damaged or was not written by save; fetch or save it again."
_KEYS = {
    *("format", "format_version", "library_version", "backbone", "backbone_b", "num_classes"),
    *("descriptor_size", "pooling", "classes", "preprocessing", "dtype"),
}


class Custom(NamedTuple):
    """A stream on the user's own network: its name, its framework's door, its channels."""

    name: str
    framework: str
    channels: int


@dataclass(frozen=True)
class Description:
    """All a file says of its model beside the numbers; `write` and `from_json` check it.

    `pooling` is ``{"name": "BilinearPool", "reduction": …, "eps": …, "l2_eps": …}``, or another
    pool's name and scalars: each door maps names to its layers.
    """

    backbone: str | Custom
    backbone_b: str | Custom | None
    num_classes: int
    descriptor_size: int
    pooling: Mapping[str, Any]
    classes: tuple[str, ...] | None = None
    preprocessing: Preprocessing | None = None
    dtype: str = "float32"
    library_version: str = __version__

    @property
    def streams(self) -> dict[str, str | Custom]:
        """Prefix of its tensors -> stream, for one stream or two."""
        second = {} if self.backbone_b is None else {"backbone_b.": self.backbone_b}
        return {"backbone.": self.backbone} | second

    def check(self, op: str, remedy: str) -> None:
        """ValueError for the first field that cannot describe a model."""
        for holds, invariant, received in _rules(self):
            if not holds:
                refuse(ValueError, op, invariant, f"{received!r}", remedy)

    def to_json(self) -> str:
        data = {"format": FORMAT, "format_version": VERSION}
        data |= {key: getattr(self, key) for key in _KEYS - data.keys()}
        for key in ("backbone", "backbone_b"):
            if isinstance(data[key], Custom):
                name, framework, channels = data[key]
                data[key] = {"custom": name, "framework": framework, "channels": channels}
        data["pooling"] = dict(self.pooling)
        data["preprocessing"] = self.preprocessing and self.preprocessing.to_dict()
        return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str, op: str = "load") -> "Description":
        """The inverse of `to_json`. Raises: ValueError for anything else, or a newer version."""
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            refuse(ValueError, op, "its description must be JSON", f"{error}", DAMAGED)
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            received = repr(data.get("format")) if isinstance(data, dict) else type(data).__name__
            refuse(ValueError, op, f"its description must be of format {FORMAT}", received, DAMAGED)
        version = data.get("format_version")
        if _is_count(version) and version > VERSION:
            written = f"version {version}, written by bilinear {data.get('library_version')}"
            invariant = f"this bilinear {__version__} reads format version {VERSION}"
            refuse(ValueError, op, invariant, written, "Upgrade bilinear: pip install -U bilinear")
        if not _is_count(version) or data.keys() != _KEYS:
            invariant = f"a description of version {VERSION} must have exactly its fields"
            wrong = sorted(data.keys() ^ _KEYS) or f"version {version!r}"
            refuse(ValueError, op, invariant, f"missing or unknown: {wrong}", DAMAGED)
        del data["format"], data["format_version"]
        for key in ("backbone", "backbone_b"):
            if isinstance(data[key], dict) and data[key].keys() == {"custom", *Custom._fields[1:]}:
                data[key] = Custom(*(data[key][part] for part in ("custom", *Custom._fields[1:])))
        if isinstance(data["classes"], list):
            data["classes"] = tuple(data["classes"])
        if data["preprocessing"] is not None:
            try:
                data["preprocessing"] = Preprocessing.from_dict(data["preprocessing"])
            except ValueError as error:
                refuse(ValueError, op, "its preprocessing must be valid", f"{error}", DAMAGED)
        description = cls(**data)
        description.check(op, DAMAGED)
        return description


def _rules(d: Description) -> Iterator[tuple[bool, str, object]]:
    """(holds, invariant, received), in an order in which each may rely on those before."""
    streams = list(d.streams.values())
    names = ", ".join(CHANNELS)
    yield all(map(_is_stream, streams)), f"a stream must be {names} or one's own, named", streams
    for name in ("num_classes", "descriptor_size"):
        count = getattr(d, name)
        yield _is_count(count), f"{name} must be a positive integer", count
    pooling = d.pooling
    named = isinstance(pooling, Mapping) and isinstance(pooling.get("name"), str)
    scalars = named and all(isinstance(k, str) and _is_scalar(v) for k, v in pooling.items())
    yield scalars, "pooling must have a name, and finite JSON scalars beside it", pooling
    if pooling["name"] == "BilinearPool":
        channels = [CHANNELS[s] if isinstance(s, str) else s.channels for s in streams]
        size = channels[0] * channels[-1]
        invariant = f"descriptor_size must be {channels[0]} × {channels[-1]}"
        yield d.descriptor_size == size, invariant, d.descriptor_size
    if d.classes is not None:
        strings = isinstance(d.classes, tuple) and all(isinstance(c, str) for c in d.classes)
        yield strings, "classes must be a tuple of names", d.classes
        different = len(set(d.classes)) == len(d.classes) == d.num_classes
        yield different, f"classes must be {d.num_classes} different names", d.classes
    is_preprocessing = d.preprocessing is None or isinstance(d.preprocessing, Preprocessing)
    yield is_preprocessing, "preprocessing must be a Preprocessing", d.preprocessing
    is_dtype = isinstance(d.dtype, str) and d.dtype in DTYPES
    yield is_dtype, f"dtype must be one of {', '.join(DTYPES)}", d.dtype
    version = d.library_version
    yield isinstance(version, str), "library_version must be text", version


def _is_stream(stream: object) -> bool:
    if isinstance(stream, Custom):
        texts = all(isinstance(text, str) and text for text in stream[:2])
        return texts and _is_count(stream.channels)
    return isinstance(stream, str) and stream in CHANNELS


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_scalar(value: object) -> bool:
    finite = not isinstance(value, float) or math.isfinite(value)
    return value is None or (isinstance(value, (str, int, float)) and finite)
