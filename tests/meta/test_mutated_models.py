"""Portable files with random changes: each opens, or is refused by an error that names it.

The changes are seeded. ``--full`` tries more of them.
"""

import copy
import json
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bilinear.models import checkpoint
from bilinear.models.description import Custom

from ..models.test_checkpoint import describe, layout, tiny
from ..models.test_description import SKETCHED
from ..models.test_pools import DEMOCRATIC, LEVELS, ROOT, SKETCH

INNER = {f"pool.{name}": table for name, table in SKETCHED.items()}
LEARNED = {"pool.u1": np.ones((2, 4), np.float32), "pool.u2": np.ones((3, 4), np.float32)}
CASES: dict[str, tuple[dict[str, Any], dict[str, np.ndarray]]] = {
    "plain": ({}, {}),
    "tables": ({"pooling": SKETCH}, SKETCHED),
    "within": ({"pooling": DEMOCRATIC}, INNER),
    "learned": ({"pooling": LEVELS, "backbone": Custom("net", "torch", (2, 3))}, LEARNED),
    "root": (
        {"pooling": ROOT, "descriptor_size": 3},
        {"classifier.weight": np.ones((3, 3), np.float32)},
    ),
}
NUMBERS = [0, -1, 1, 2**31, 2**63, 10**99, 10**400, 1e-46, 1e300, float("inf"), float("nan")]
TEXTS = ["", "x", "\x1b[31m\n", "é" * 50, "vgg16", "torch", "CompactBilinearPool", "F8_E4M3", "F4"]
LISTS = [[], [1], [2, 2], [[]], {}, {"a": 1}, {"name": "BilinearPool"}, {"name": []}]
VALUES = [None, True, *NUMBERS, *TEXTS, *LISTS]


def change(rng: random.Random, value: Any) -> Any:
    """Replace, add or remove one value somewhere in JSON."""
    if not isinstance(value, (dict, list)) or not value or rng.random() < 0.15:
        return copy.deepcopy(rng.choice(VALUES))
    key = rng.choice(list(value)) if isinstance(value, dict) else rng.randrange(len(value))
    if rng.random() < 0.1:
        del value[key]
    elif isinstance(value, dict) and rng.random() < 0.1:
        value[rng.choice(["x", "name", "pool", "seed", f"{key}2"])] = rng.choice(VALUES)
    else:
        value[key] = change(rng, value[key])
    return value


def mutated(rng: random.Random, data: bytes) -> bytes:
    """Change bytes, the description or the header of a safetensors file."""
    length = int.from_bytes(data[:8], "little")
    kind, header = rng.random(), json.loads(data[8 : 8 + length])
    if kind < 0.3:
        changed = bytearray(data)
        for _ in range(rng.randint(1, 8)):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        return bytes(changed[: rng.choice([None, None, rng.randrange(len(data))])])
    if kind < 0.7:
        description = change(rng, json.loads(header["__metadata__"]["bilinear"]))
        text = json.dumps(description)
        deep = rng.choice([10, 900, 3000])
        values = ["1e999", "9" * 5000, "[" * deep + "]" * deep]
        text = text.replace("1e-10", rng.choice(values)) if rng.random() < 0.2 else text
        header["__metadata__"]["bilinear"] = text
    else:
        header = change(rng, header)
    encoded = json.dumps(header).encode()
    return len(encoded).to_bytes(8, "little") + encoded + data[8 + length :]


@pytest.mark.parametrize("case", CASES)
def test_mutated_portable_files_open_or_are_refused(case: str, tmp_path: Path) -> None:
    path, (fields, tensors) = tmp_path / "model.safetensors", CASES[case]
    own, buffers = tiny() | tensors, {"classifier.bias": tiny()["classifier.bias"]}
    checkpoint.write(path, describe(**{"descriptor_size": 4} | fields), own, buffers)
    data, rng = path.read_bytes(), random.Random(case)
    for turn in range(2000 if os.environ["BILINEAR_TEST_FULL"] == "1" else 60):
        changed = mutated(rng, data)
        path.write_bytes(changed)
        try:
            checkpoint.read(path, layout(own), momentum=bool(turn % 2))
        except ValueError as error:
            text = str(error)
            assert text.startswith(f"load {path}: "), changed
            assert text.isprintable(), changed
            assert len(text) < 2000, changed
