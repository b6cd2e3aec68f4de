"""`random_maclaurin`: the common tests, its statistics and its tables."""

from .sketches import SketchTests
from .suite import operator_tests

TestReference, TestParity, TestTransforms = operator_tests("random_maclaurin")


class TestSketch(SketchTests):
    op = "random_maclaurin"
