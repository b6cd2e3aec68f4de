"""Golden vectors: inputs, results and error bounds in one file, for any language to test with.

``python -m bilinear.testing.vectors vectors.safetensors`` writes them. ``docs/vectors.md``
describes the file.
"""

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from .. import __version__
from .cases import Case, normal
from .operators import options_of
from .subjects import OPERATORS, OPS, argument_names, output_shape, truth, vjp_truth
from .tolerances import SLACK

FORMAT, FORMAT_VERSION = "bilinear-vectors", 2


def cases() -> Iterator[tuple[str, str, Case]]:
    """Yield operator, name and call of every singular point and smooth case.

    All inputs are bfloat16 values, so that one file can be used for every dtype. The file contains
    the defaults of options explicitly.
    """
    for op in OPERATORS:
        smooth = {f"smooth {i}": case for i, case in enumerate(OPS[op].smooth("bfloat16"))}
        for name, case in {**OPS[op].edges("bfloat16"), **smooth}.items():
            options = {"mask": None} | options_of(op) | case.options
            if options["mask"] is None:
                del options["mask"]
            yield op, name, Case(case.arrays, options)


def vectors() -> tuple[dict[str, np.ndarray], list[dict[str, Any]]]:
    """Return all tensors by name, and the metadata of each vector."""
    tensors: dict[str, np.ndarray] = {}
    entries = []
    for op, name, case in cases():
        key = f"{op}/{name}"
        cotangent = normal("bfloat16", *output_shape(op, case), seed=1)
        tensors |= {f"{key}/{k}": v for k, v in _tensors(op, case, cotangent).items()}
        options, _ = _split_options(case.options)
        names = argument_names(op, len(case.arrays))
        entries.append({"name": key, "operator": op, "arrays": names, "options": options})
    return tensors, entries


def write(path: Path) -> int:
    """Write the file and return the number of vectors in it."""
    tensors, entries = vectors()
    metadata = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "library_version": __version__,
        "slack": SLACK,
        "vectors": entries,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, {"bilinear": json.dumps(metadata, sort_keys=True)})
    return len(entries)


def _tensors(op: str, case: Case, cotangent: np.ndarray) -> dict[str, np.ndarray]:
    names = argument_names(op, len(case.arrays))
    tensors: dict[str, Any] = dict(zip(names, case.arrays, strict=True))
    _, given = _split_options(case.options)
    tensors["cotangent"] = cotangent
    for dtype in ("float32", "float64"):
        narrow = Case(tuple(a.astype(dtype) for a in case.arrays), case.options)
        value = truth(op, narrow)
        tensors["value"], tensors[f"value_bound_{dtype}"] = value
        gradients = vjp_truth(op, narrow, cotangent.astype(dtype))
        for name, gradient in zip(names, gradients, strict=True):
            tensors[f"gradient_{name}"] = gradient.value
            tensors[f"gradient_{name}_bound_{dtype}"] = gradient.error
    floats = {k: np.ascontiguousarray(v.astype(np.float64)) for k, v in tensors.items()}
    return floats | {k: np.ascontiguousarray(v) for k, v in given.items()}


def _split_options(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Separate arrays from options that JSON can represent; named tuples may contain both."""
    plain: dict[str, Any] = {}
    arrays: dict[str, np.ndarray] = {}
    for name, value in options.items():
        if isinstance(value, np.ndarray):
            arrays[name] = value
        elif hasattr(value, "_asdict"):
            plain[name], inner = _split_options(value._asdict())
            arrays |= {f"{name}.{field}": array for field, array in inner.items()}
        else:
            plain[name] = value
    return plain, arrays


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("path", type=Path, help="the file to write")
    path = parser.parse_args().path
    print(f"{write(path)} vectors written to {path}")


if __name__ == "__main__":
    main()
