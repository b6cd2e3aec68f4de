"""A backend that is wrong by ten times the bound is found: in every operator, dtype and direction.

So the comparison sees what it should, with every cast and rounding between; that the bounds are
small is another test's (`test_reference`). For the half types, whose own rounding hides smaller
errors, the canary is wrong by ten half-ulps more.
"""

import numpy as np
import pytest

from . import test_parity
from .bounds import Bounded
from .ops._cases import DTYPES, Case
from .subjects import OPERATORS, OPS, truth, vjp_truth

WRONG_BY = 10


class Canary:
    """The reference, rounded, but for one direction: there it errs where a bound is finite."""

    modes = ("eager",)

    def __init__(self, direction: str) -> None:
        self.direction = direction

    def forward(self, op, arrays, options, *, mode="eager"):
        expected = truth(op, Case(tuple(arrays), options))
        return result(expected, arrays[0].dtype, wrong=self.direction == "forward")

    def vjp(self, op, cotangent, arrays, options, *, mode="eager"):
        expected = vjp_truth(op, Case(tuple(arrays), options), cotangent)
        wrong = self.direction == "gradient"
        return tuple(result(e, a.dtype, wrong=wrong) for e, a in zip(expected, arrays, strict=True))


def result(expected: Bounded, dtype: np.dtype, *, wrong: bool) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = expected.value.astype(dtype)
        if not wrong:
            return rounded
        ulp = np.spacing(np.abs(rounded)).astype(np.longdouble)
        error = expected.error + (ulp / 2 if dtype.itemsize == 2 else 0)
        off = np.where(np.isfinite(error), WRONG_BY * error, 0)
        return (expected.value + off).astype(dtype)


@pytest.mark.parametrize("direction", ["forward", "gradient"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", OPERATORS)
def test_a_canary_is_found(op: str, dtype: str, direction: str, monkeypatch) -> None:
    found = 0
    for case in OPS[op].edges(dtype).values():
        cotangent = np.ones(OPS[op].output_shape(case), DTYPES[dtype])
        monkeypatch.setattr(test_parity, "driver", lambda name: Canary(""))
        test_parity.check_against_reference(op, dtype, "canary", case, cotangent, note=False)
        monkeypatch.setattr(test_parity, "driver", lambda name: Canary(direction))
        if not _promised(op, case, cotangent, direction):
            continue
        with pytest.raises(AssertionError, match="outside the bound"):
            test_parity.check_against_reference(op, dtype, "canary", case, cotangent, note=False)
        found += 1
    assert found


def _promised(op: str, case: Case, cotangent: np.ndarray, direction: str) -> bool:
    """Whether some finite result has a finite bound that is not 0."""
    expected = [truth(op, case)] if direction == "forward" else vjp_truth(op, case, cotangent)
    largest = (
        float(np.finfo(case.arrays[0].dtype).max) if case.arrays[0].dtype.itemsize > 2 else 6e4
    )
    return any(
        ((b.error > 0) & np.isfinite(b.error) & (np.abs(b.value) < largest)).any() for b in expected
    )
