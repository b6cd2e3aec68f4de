"""`tensor_sketch`: the battery, transforms, its statistics, and tables of other libraries."""

import numpy as np
import pytest

from bilinear import reference
from bilinear.backends.initial_values import maclaurin_tables, sketch_tables
from bilinear.contract.sketches import CHANNELS
from bilinear.testing.cases import normal
from bilinear.testing.closeness import assert_rounded

from ..subjects import PRESENT
from .sketches import SketchStatistics, check_refused_tables, dense_sketch, known_tables
from .suite import (
    MAP,
    OTHER,
    VALID,
    Derivation,
    Transforms,
    check_complex_step,
    parity,
    specification,
)

TestReference = specification("tensor_sketch")
TestParity = parity("tensor_sketch")


class TestDerivation(Derivation):
    op = "tensor_sketch"


class TestTransforms(Transforms):
    op = "tensor_sketch"


class TestStatistics(SketchStatistics):
    op = "tensor_sketch"


@pytest.mark.parametrize(
    ("arrays", "options"),
    [
        ((MAP, None), (sketch_tables(3, None, 5), None, "mean")),
        ((MAP, OTHER), (sketch_tables(3, 2, 4), VALID, "none")),
    ],
)
def test_vjp_is_the_complex_step_derivative(arrays: tuple, options: tuple) -> None:
    check_complex_step("tensor_sketch", arrays, options)


@pytest.mark.parametrize("dim", [7, 16])
def test_tables_of_other_libraries_give_their_sketches(dim: int) -> None:
    x, tables = normal("float64", 2, 5, 6), known_tables(6, dim)
    result = reference.tensor_sketch(x, tables=tables, reduction="sum")
    assert_rounded(result, dense_sketch(x, tables), 100, scale=float((x**2).sum()))


X, Y = np.ones((2, 4, 3), np.float32), np.ones((2, 4, 5), np.float32)
GOOD, SIGNS = sketch_tables(3, 5, 8), maclaurin_tables(3, 5, 8)
BAD = {
    "beyond dim": ((X, Y), GOOD._replace(dim=2), "must lie from 0 to dim - 1"),
    "negative": ((X, Y), GOOD._replace(h1=-GOOD.h1 - 1), "h1 must lie from 0"),
    "no signs": ((X, Y), GOOD._replace(s2=2 * GOOD.s2), "s2 must hold +1 and -1"),
    "other channels": ((X,), GOOD, CHANNELS),
    "traced dim": ((X, Y), GOOD._replace(dim=np.int64(8)), "must be a Python int"),
    "no bin": ((X, Y), GOOD._replace(dim=0), "dim must be a positive integer"),
    "real hashes": ((X, Y), GOOD._replace(h1=GOOD.h1 * 1.0), "h1 must be one of"),
    "narrow hashes": (
        (X, Y),
        GOOD._replace(h1=GOOD.h1.astype(np.int8)),
        "h1 must be one of (int32, int64)",
    ),
    "a list": ((X, Y), GOOD._replace(h1=[0, 1, 2]), "h1 must be an array"),
    "a tuple": ((X, Y), tuple(GOOD), "tables must be a SketchTables"),
}


@pytest.mark.parametrize("backend", ["reference", *PRESENT])
@pytest.mark.parametrize("mistake", BAD)
def test_wrong_tables_are_refused(backend: str, mistake: str) -> None:
    check_refused_tables("tensor_sketch", backend, *BAD[mistake])
