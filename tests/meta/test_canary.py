"""Wrong backends fail, and bounds and tolerances have not grown.

A canary errs by ten times the bound (`canaries.py`) and must fail all tests. Its error would grow
with the bounds, so that results with ten times the error of a plain loop must fail too. The
roundings of this loop are counted by hand.
"""

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from bilinear.testing import DTYPES, OPERATORS, OPS, assert_within, truth, vjp_truth
from bilinear.testing.cases import normal
from bilinear.testing.subjects import output_shape
from bilinear.testing.tolerances import SLACK, UNIT_ROUNDOFF

from .. import tolerances

GREEN = {
    "not_covered",
    "law[canary of gradient",  # laws compare values
    "later_steps[canary of gradient",
    "floor[",  # the canary is correct where the bound is infinite
    "closed form",  # two errors of opposite sign cancel
    "semidefiniteness",  # the error of an entry is smaller than the bound of the eigenvalues
}
"""Tests that pass for a canary."""

ROUNDINGS = {
    ("covariance_pool", "forward"): 14,  # a centered factor has 5, twice; 3 products, the division
    ("covariance_pool", "gradient"): 20,  # centering, 4 products a side, their sum, the division
    ("covariance_sqrt", "forward"): 93,  # those; S and s 7; 5 steps of 3 products of 4 and T; root
    ("covariance_sqrt", "gradient"): 250,  # those; back 5 steps of 3 sums of 2 products; of s and C
    ("matrix_sqrt", "forward"): 63,  # S and s 6; 5 steps of 3 products and T, 11 each; the root 2
    ("matrix_sqrt", "gradient"): 190,  # those; back 5 steps of 3 sums of 2 products; and of s
    ("outer_pool", "forward"): 4,  # 3 products, their sum, the division: 3 + 1 a term
    ("outer_pool", "gradient"): 10,  # 4 products a side, twice; their sum and the division
    ("random_maclaurin", "forward"): 15,  # 4 and 4 signed sums, product, 3 + 1 of these, Z, √dim
    ("random_maclaurin", "gradient"): 18,  # 4 sums, Z, √dim, 3 of these with γ, twice; their sum
    ("outer_max_pool", "forward"): 1,
    ("outer_max_pool", "gradient"): 12,  # 4 shares and products a side, twice; their sums
    ("democratic_weights", "forward"): 35,  # K has 9, C 8; of 2 steps the first has 16
    ("democratic_weights", "gradient"): 100,  # those of K, C and both steps, on the way back too
    ("signed_sqrt", "forward"): 3,  # eps, its addition, the root
    ("signed_sqrt", "gradient"): 5,  # likewise, then the quotient and the product
    ("half_vectorize", "forward"): 2,  # √2 and the product
    ("half_vectorize", "gradient"): 2,
    ("l2_normalize", "forward"): 7,  # 4 squares, their sum, the root, the division
    ("l2_normalize", "gradient"): 20,  # the norm, u, ⟨u, γ⟩, their product, difference, division
    ("tensor_sketch", "forward"): 25,  # 8 pairs a bin, at 3 locations: products, sum, division
    ("tensor_sketch", "gradient"): 10,  # 4 products a side, twice; their sum and the division
    ("bilinear_pool", "forward"): 26,  # 4 / 2 and 3 before a norm of 16, which has 18; and again
    ("bilinear_pool", "gradient"): 80,  # those, 16 + 8 of the norm's, 5 of the root's, 10 of G's
    ("bilinear_scores", "forward"): 40,  # a packed descriptor has 28, 10 products, the bias
    ("bilinear_scores", "gradient"): 95,  # the descriptor's and √2, 2 + 10 of ⟨γ, W u⟩
    ("hadamard_pool", "forward"): 4,  # 3 products, their sum, the division
    ("hadamard_pool", "gradient"): 2,  # the division, the product
    ("low_rank_pool", "forward"): 12,  # two projections of 4 products, then as hadamard_pool
    ("low_rank_pool", "gradient"): 11,  # a projection, 2 of hadamard_pool's, 4 products, a sum
    ("low_rank_scores", "forward"): 17,  # projection twice, 6 squares, their sum, difference, bias
    ("low_rank_scores", "gradient"): 12,  # a projection, its product with γ, 6 products, a sum
}
"""Number of roundings of a result by a loop, for the first smooth case (3 locations, 4 channels,
one stream)."""


def test_every_test_fails_for_a_canary(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    options = ["-q", "--tb=no", "-p", "no:cacheprovider", f"--junitxml={report}"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "tests/canaries.py", *options],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"HYPOTHESIS_PROFILE": "default, unshrunk"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    rows = list(ElementTree.parse(report).iter("testcase"))
    assert len(rows) > 100, done.stdout
    green = [row.get("name", "") for row in rows if row.find("failure") is None]
    assert [name for name in green if not any(word in name for word in GREEN)] == []


@pytest.mark.parametrize(("op", "direction"), ROUNDINGS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_bounds_have_not_grown(op: str, direction: str, dtype: str) -> None:
    """Ten times the error of a loop is refused, and two ulp in half precision."""
    case = OPS[op].smooth(dtype)[0]
    cotangent = normal(dtype, *output_shape(op, case), seed=1)
    given = truth(op, case) if direction == "forward" else vjp_truth(op, case, cotangent)[0]
    exact = given.value.astype(dtype)
    assert_within(exact, given, dtype, op)
    if dtype in UNIT_ROUNDOFF:
        off = 10 * ROUNDINGS[op, direction] * UNIT_ROUNDOFF[dtype]
        wrong = (given.value * (1 + off)).astype(dtype)
    else:
        wrong = np.nextafter(np.nextafter(exact, DTYPES[dtype].type(9)), DTYPES[dtype].type(9))
    with pytest.raises(AssertionError, match="outside the bound"):
        assert_within(wrong, given, dtype, op)


def test_bounds_are_small_at_smooth_points() -> None:
    """Bounds may be infinite only at discontinuities."""
    case = OPS["bilinear_pool"].edges("float32")["non-square"]
    bounded = truth("bilinear_pool", case)
    assert float(bounded.error.max()) < 1e-5
    for gradient in vjp_truth("bilinear_pool", case, np.ones(bounded.shape)):
        assert float(gradient.error.max()) < 1e-3 * float(np.abs(gradient.value).max())


def test_every_operator_has_a_number_of_roundings() -> None:
    assert {op for op, _ in ROUNDINGS} == set(OPERATORS)


def test_tolerances_have_not_grown() -> None:
    """The values are repeated here, so that a change of a tolerance must be made twice."""
    assert SLACK == 2
    assert tolerances.LOGITS["float32"] < 1e-4
    assert tolerances.LOGITS["float64"] < 2e-13
    assert {"float64": pytest.approx(7.6e-9, rel=0.1)} == tolerances.GRADIENTS
    assert tolerances.DERIVATIVE == {"float64": 1e-8, "bfloat16": 2**-8}
    assert tolerances.COMPLEX_STEP <= 1e-12
    assert tolerances.COARSE_DIFFERENCES <= 1e-5
    assert tolerances.SPREAD <= 8
    assert tolerances.RECOMPUTED == {"rtol": 1e-5, "atol": 1e-6}
    assert tolerances.PROJECTED == {"rtol": 1e-5, "atol": 1e-5}
