"""The golden vectors, read as another language would: by the words of docs/vectors.md alone."""

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


def parsed(path: Path) -> tuple[dict[str, np.ndarray], dict]:
    """Eight bytes of length, a JSON header, then the numbers, little-endian and row-major."""
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + length])
    described = json.loads(header.pop("__metadata__")["bilinear"])
    tensors = {}
    for name, entry in header.items():
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        tensors[name] = np.frombuffer(raw[begin:end], KINDS[entry["dtype"]]).reshape(entry["shape"])
    return tensors, described


@pytest.mark.parametrize(
    ("subject", "dtype"),
    [("reference", "float32"), ("reference", "float64"), *((b, "float32") for b in PRESENT)],
)
def test_every_vector_is_met(path: Path, subject: str, dtype: str) -> None:
    driver = REFERENCE if subject == "reference" else kit_driver(subject)
    tensors, described = parsed(path)
    for vector in described["vectors"]:
        check(driver, vector, tensors, dtype, described["slack"])


def check(driver: Driver, vector: dict, tensors: dict, dtype: str, slack: float) -> None:
    """What docs/vectors.md asks of a result."""
    own = {k.removeprefix(vector["name"] + "/"): v for k, v in tensors.items()}
    names = vector["arrays"]
    arrays = [own[name].astype(dtype) for name in names]
    options = dict(vector["options"])
    if "mask" in own:
        options["mask"] = own["mask"]
    for name, plain in options.items():
        if isinstance(plain, dict):  # a tuple with names
            fields = {k.partition(".")[2]: v for k, v in own.items() if k.startswith(f"{name}.")}
            options[name] = TUPLES[frozenset({*plain, *fields})](**plain, **fields)
    results = {"value": driver.value(vector["operator"], arrays, options)}
    cotangent = own["cotangent"].astype(dtype)
    gradients = driver.gradients(vector["operator"], cotangent, arrays, options)
    results |= {f"gradient_{name}": g for name, g in zip(names, gradients, strict=True)}
    for name, result in results.items():
        expected, bound = own[name], own[f"{name}_bound_{dtype}"]
        smallest = float(np.finfo(dtype).tiny)
        near = np.abs(result - expected) <= slack * (bound + smallest)
        fine = near | np.isinf(bound) | (np.isnan(result) & np.isnan(expected))
        assert fine.all(), f"{vector['name']}, {name}, {driver.name}"


def test_the_file_is_whole(path: Path) -> None:
    tensors, described = parsed(path)
    assert (described["format"], described["format_version"]) == ("bilinear-vectors", 2)
    assert {v["operator"] for v in described["vectors"]} == set(OPERATORS)
    assert len(described["vectors"]) == len(list(cases())) > 30
    inputs = {f"{v['name']}/{a}" for v in described["vectors"] for a in v["arrays"]}
    for name, values in tensors.items():
        if name in inputs or name.endswith("/cotangent"):
            bits = values.astype(np.float32).view(np.uint32)
            assert not (bits & 0xFFFF)[~np.isnan(values)].any(), f"{name} is not of bfloat16"


def test_it_is_written_alike_twice(path: Path, tmp_path: Path) -> None:
    write(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


def test_a_wrong_result_is_found(path: Path) -> None:
    tensors, described = parsed(path)
    wrong = Driver("wrong", lambda *a: 1.0001 * REFERENCE.forward(*a), REFERENCE.vjp)
    red = 0
    for vector in described["vectors"]:
        try:
            check(wrong, vector, tensors, "float32", described["slack"])
        except AssertionError:
            red += 1
    assert red > 20
