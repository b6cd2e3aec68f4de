"""The golden vectors, read as docs/vectors.md describes, without the test kit."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest

from bilinear.contract.sketches import MaclaurinTables, SketchTables
from bilinear.testing import OPERATORS, REFERENCE, Driver
from bilinear.testing.vectors import cases, write

from ..subjects import PRESENT, kit_driver

KINDS = {"F64": "<f8", "BOOL": "?", "I64": "<i8", "I8": "i1"}
TUPLES = {frozenset(kind._fields): kind for kind in (SketchTables, MaclaurinTables)}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("vectors") / "vectors.safetensors"
    write(path)
    return path


def read(path: Path) -> tuple[dict[str, np.ndarray], dict]:
    """Read eight bytes of length, a JSON header, and little-endian, row-major values."""
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + length])
    metadata = json.loads(header.pop("__metadata__")["bilinear"])
    tensors = {}
    for name, entry in header.items():
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        tensors[name] = np.frombuffer(raw[begin:end], KINDS[entry["dtype"]]).reshape(entry["shape"])
    return tensors, metadata


@pytest.mark.parametrize(
    ("subject", "dtype"),
    [("reference", "float32"), ("reference", "float64"), *((b, "float32") for b in PRESENT)],
)
def test_every_vector_passes(path: Path, subject: str, dtype: str) -> None:
    driver = REFERENCE if subject == "reference" else kit_driver(subject)
    tensors, metadata = read(path)
    for vector in metadata["vectors"]:
        check(driver, vector, tensors, dtype, metadata["slack"])


def check(driver: Driver, vector: dict, tensors: dict, dtype: str, slack: float) -> None:
    """Check results by the criteria of docs/vectors.md."""
    entries = {k.removeprefix(vector["name"] + "/"): v for k, v in tensors.items()}
    names = vector["arrays"]
    arrays = [entries[name].astype(dtype) for name in names]
    options = dict(vector["options"])
    if "mask" in entries:
        options["mask"] = entries["mask"]
    for name, plain in options.items():
        if isinstance(plain, dict):  # a tuple with names
            fields = {
                k.partition(".")[2]: v for k, v in entries.items() if k.startswith(f"{name}.")
            }
            options[name] = TUPLES[frozenset({*plain, *fields})](**plain, **fields)
    results = {"value": driver.value(vector["operator"], arrays, options)}
    cotangent = entries["cotangent"].astype(dtype)
    gradients = driver.gradients(vector["operator"], cotangent, arrays, options)
    results |= {f"gradient_{name}": g for name, g in zip(names, gradients, strict=True)}
    for name, result in results.items():
        expected, bound = entries[name], entries[f"{name}_bound_{dtype}"]
        smallest = float(np.finfo(dtype).tiny)
        near = np.abs(result - expected) <= slack * (bound + smallest)
        fine = near | np.isinf(bound) | (np.isnan(result) & np.isnan(expected))
        assert fine.all(), f"{vector['name']}, {name}, {driver.name}"


def test_the_file_is_complete(path: Path) -> None:
    tensors, metadata = read(path)
    assert (metadata["format"], metadata["format_version"]) == ("bilinear-vectors", 2)
    assert {v["operator"] for v in metadata["vectors"]} == set(OPERATORS)
    assert len(metadata["vectors"]) == len(list(cases())) > 30
    inputs = {f"{v['name']}/{a}" for v in metadata["vectors"] for a in v["arrays"]}
    for name, values in tensors.items():
        if name in inputs or name.endswith("/cotangent"):
            bits = values.astype(np.float32).view(np.uint32)
            assert not (bits & 0xFFFF)[~np.isnan(values)].any(), f"{name} is not of bfloat16"


def test_the_file_is_deterministic(path: Path, tmp_path: Path) -> None:
    write(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


def test_wrong_results_fail(path: Path) -> None:
    tensors, metadata = read(path)
    wrong = Driver("wrong", lambda *a: 1.0001 * REFERENCE.forward(*a), REFERENCE.vjp)
    red = 0
    for vector in metadata["vectors"]:
        try:
            check(wrong, vector, tensors, "float32", metadata["slack"])
        except AssertionError:
            red += 1
    assert red > 20
