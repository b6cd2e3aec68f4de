"""`LowRankBilinearClassifier`: `low_rank_scores` of a feature map and the learned weights."""

from typing import Any

import numpy as np

from ... import reference
from ...backends.initial_values import classifier_projections
from ..bounds import Bounded
from ..cases import Case, Maps, layer_calls, to_locations
from ..ops import low_rank_scores

OWN = ("mask", "reduction")
"""The parameters of the layer that are options of `low_rank_scores`."""


def calls(dtype: str) -> dict[str, tuple[Maps, dict[str, Any]]]:
    given = layer_calls(dtype, (1,))
    for (x,), arguments in given.values():
        sizes = {"channels": x.shape[-1], "num_classes": 4, "rank": 3}
        arguments["parameters"] = sizes
    given["one stream"][1]["parameters"] |= {"rank": 1, "seed": 1}
    given["masked"][1]["parameters"] |= {"reduction": "mean"}
    return given


def case(maps: Maps, parameters: dict[str, Any], mask: np.ndarray | None) -> Case:
    flat, classes = to_locations(maps, mask, parameters), parameters["num_classes"]
    sizes = parameters["channels"], classes, parameters["rank"]
    plus, minus = classifier_projections(*sizes, parameters.get("seed", 0))
    learned = (w.astype(maps[0].dtype) for w in (np.zeros(classes), minus, plus))
    return Case((*flat.arrays, *learned), flat.options)


def value(case: Case) -> np.ndarray:
    inner = _operator_case(case)
    return reference.low_rank_scores(*inner.double(), **inner.options)


def gradients(case: Case, cotangent: np.ndarray) -> tuple[np.ndarray, ...]:
    inner = _operator_case(case)
    return _reorder(reference.low_rank_scores_vjp(cotangent, *inner.double(), **inner.options))


def forward(case: Case, acc: str) -> Bounded:
    return low_rank_scores.forward(_operator_case(case), acc)


def vjp(case: Case, cotangent: np.ndarray, acc: str) -> tuple[Bounded, ...]:
    return _reorder(low_rank_scores.vjp(_operator_case(case), cotangent, acc))


def _operator_case(case: Case) -> Case:
    x, bias, minus, plus = case.arrays
    return Case((x, plus, minus, bias), {k: o for k, o in case.options.items() if k in OWN})


def _reorder(gradients: Any) -> tuple:
    dx, plus, minus, bias = gradients
    return dx, bias, minus, plus


__all__ = ["calls", "case", "forward", "gradients", "value", "vjp"]
