"""`random_maclaurin`: the battery, transforms and its statistics."""

import numpy as np
import pytest

from bilinear.backends.initial_values import maclaurin_tables, sketch_tables
from bilinear.contract.sketches import CHANNELS

from ..subjects import PRESENT
from .sketches import SketchStatistics, check_refused_tables
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

TestReference = specification("random_maclaurin")
TestParity = parity("random_maclaurin")


class TestDerivation(Derivation):
    op = "random_maclaurin"


class TestTransforms(Transforms):
    op = "random_maclaurin"


class TestStatistics(SketchStatistics):
    op = "random_maclaurin"


@pytest.mark.parametrize(
    ("arrays", "options"),
    [
        ((MAP, None), (maclaurin_tables(3, None, 5), None, "none")),
        ((MAP, OTHER), (maclaurin_tables(3, 2, 4), VALID, "mean")),
    ],
)
def test_vjp_is_the_complex_step_derivative(arrays: tuple, options: tuple) -> None:
    check_complex_step("random_maclaurin", arrays, options)


X, Y = np.ones((2, 4, 3), np.float32), np.ones((2, 4, 5), np.float32)
GOOD, SIGNS = sketch_tables(3, 5, 8), maclaurin_tables(3, 5, 8)
BAD = {
    "other tables": ((X, Y), GOOD, "tables must be a MaclaurinTables"),
    "two dims": ((X, Y), SIGNS._replace(w2=SIGNS.w2[:, :7]), CHANNELS),
    "zeros": ((X, Y), SIGNS._replace(w1=0 * SIGNS.w1), "w1 must hold"),
}


@pytest.mark.parametrize("backend", ["reference", *PRESENT])
@pytest.mark.parametrize("mistake", BAD)
def test_wrong_tables_are_refused(backend: str, mistake: str) -> None:
    check_refused_tables("random_maclaurin", backend, *BAD[mistake])
