"""Strict JSON: errors name the file, and only finite numbers are read or written."""

import json
import math
import os
from typing import Any

from ._files import read_regular


def read_json(op: str, path: str | os.PathLike, remedy: str) -> Any:
    """Read a JSON file. Raises: OSError, or ValueError for other content; both name `path`."""
    data = read_regular(path)
    try:
        return parse_json(data)
    except ValueError as error:
        requirement = f"{op}: {os.fsdecode(path)} must be a JSON file"
        raise ValueError(f"{requirement}; got {f'{error}'[:200]}. {remedy}") from None


def parse_json(text: str | bytes) -> Any:
    """Parse JSON. Raises: ValueError, also for numbers that are not finite and for deep nesting."""
    try:
        return json.loads(text, parse_constant=_finite, parse_float=_finite)
    except RecursionError:
        raise ValueError("values that are nested too deeply") from None


def format_json(value: Any, **options: Any) -> str:
    """Valid JSON in ASCII, so that a terminal executes none of it. Raises: as `json.dumps`."""
    return json.dumps(value, allow_nan=False, **options)


def _finite(text: str) -> float:
    if math.isfinite(value := float(text)):
        return value
    raise ValueError(f"{text[:80]} is not a finite number")
