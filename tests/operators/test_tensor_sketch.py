"""`tensor_sketch`: the common tests, its statistics, and tables of other libraries."""

import pytest

from bilinear import reference
from bilinear.testing.cases import normal
from bilinear.testing.closeness import assert_rounded

from .sketches import SketchTests, dense_sketch, known_tables
from .suite import operator_tests

TestReference, TestParity, TestTransforms = operator_tests("tensor_sketch")


class TestSketch(SketchTests):
    op = "tensor_sketch"


@pytest.mark.parametrize("dim", [7, 16])
def test_tables_of_other_libraries_give_their_sketches(dim: int) -> None:
    x, tables = normal("float64", 2, 5, 6), known_tables(6, dim)
    result = reference.tensor_sketch(x, tables=tables, reduction="sum")
    assert_rounded(result, dense_sketch(x, tables), 100, scale=float((x**2).sum()))
