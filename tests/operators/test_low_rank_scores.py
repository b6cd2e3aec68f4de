"""`low_rank_scores`: the common tests, and the classifier that it factorises."""

import numpy as np

from bilinear import reference
from bilinear.testing.cases import normal
from bilinear.testing.closeness import assert_rounded

from .suite import operator_tests

TestReference, TestParity, TestTransforms = operator_tests("low_rank_scores")


def test_scores_equal_those_of_the_full_bilinear_classifier() -> None:
    shapes = (4, 3, 2), (4, 3, 1), (4,)
    plus, minus, bias = (normal("float64", *s, seed=i) for i, s in enumerate(shapes))
    x, mask = normal("float64", 2, 5, 3), np.array([[True, False, True, True, False], [True] * 5])
    forms = plus @ plus.mT - minus @ minus.mT
    for options in ({}, {"mask": mask, "reduction": "mean"}):
        g = reference.outer_pool(x, **{"reduction": "sum", **options})
        expected = np.einsum("kcd,ncd->nk", forms, g) + bias
        result = reference.low_rank_scores(x, plus, minus, bias, **options)
        assert_rounded(result, expected, 64)
