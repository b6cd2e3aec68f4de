"""A summary of a portable file, read without any framework."""

import json
import math
import os
from typing import Any

from .checkpoint import ENTRY, MOMENTUM, open_portable
from .description import FORMAT, Custom
from .plans import DTYPES, is_parameter


def summarize(path: str | os.PathLike) -> dict[str, Any]:
    """Return a file's description and the sizes of its parts, as JSON values, from its header.

    ``parameters`` counts what is trained, ``other`` statistics and tables, both by the first word
    of the tensors' names: ``backbone``, ``projection``, ``pool``, ``classifier``.

    Raises: what `read_description` raises.
    """
    with open_portable(path) as file:
        description, found = file.description, file.reader.specs()
        format_version = json.loads(file.reader.metadata()[ENTRY])["format_version"]
    parameters: dict[str, int] = {}
    other: dict[str, int] = {}
    for name, (shape, dtype, _) in found.items():
        if not name.startswith(MOMENTUM):
            counts = parameters if is_parameter(name) and dtype in DTYPES else other
            part = name.partition(".")[0]
            counts[part] = counts.get(part, 0) + math.prod(shape or ())
    preprocessing = description.preprocessing
    return {
        "file": os.fsdecode(path),
        "bytes": os.path.getsize(path),
        "format": FORMAT,
        "format_version": format_version,
        "library_version": description.library_version,
        "backbone": _stream(description.backbone),
        "backbone_b": _stream(description.backbone_b),
        "taps": description.taps,
        "in_channels": description.in_channels,
        "projection": description.projection,
        "pooling": dict(description.pooling),
        "descriptor_size": description.descriptor_size,
        "num_classes": description.num_classes,
        "classes": description.classes,
        "preprocessing": preprocessing and preprocessing.to_dict(),
        "dtype": description.dtype,
        "parameters": parameters | {"total": sum(parameters.values())},
        "other": other | {"total": sum(other.values())},
        "momentum": any(name.startswith(MOMENTUM) for name in found),
    }


def _stream(stream: str | Custom | None) -> Any:
    return stream._asdict() if isinstance(stream, Custom) else stream
