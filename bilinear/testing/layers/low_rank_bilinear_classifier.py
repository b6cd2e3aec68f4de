"""`LowRankBilinearClassifier`: `low_rank_scores` of the locations of a map and of its weights."""

from typing import Any

import numpy as np

from ... import reference
from ...backends.initial_values import classifier_projections
from ..bounds import Bounded
from ..cases import Case, Maps, located, map_calls
from ..ops import low_rank_scores

OWN = ("mask", "reduction")
"""What `low_rank_scores` takes of the layer's parameters."""


def calls(dtype: str) -> dict[str, tuple[Maps, dict[str, Any]]]:
    given = map_calls(dtype, (1,))
    for (x,), arguments in given.values():
        sizes = {"channels": x.shape[-1], "num_classes": 4, "rank": 3}
        arguments["parameters"] = sizes
    given["one stream"][1]["parameters"] |= {"rank": 1, "seed": 1}
    given["masked"][1]["parameters"] |= {"reduction": "mean"}
    return given


def case(maps: Maps, parameters: dict[str, Any], mask: np.ndarray | None) -> Case:
    flat, classes = located(maps, mask, parameters), parameters["num_classes"]
    sizes = parameters["channels"], classes, parameters["rank"]
    plus, minus = classifier_projections(*sizes, parameters.get("seed", 0))
    learned = (w.astype(maps[0].dtype) for w in (np.zeros(classes), minus, plus))
    return Case((*flat.arrays, *learned), flat.options)


def value(case: Case) -> np.ndarray:
    inner = _inner(case)
    return reference.low_rank_scores(*inner.double(), **inner.options)


def gradients(case: Case, cotangent: np.ndarray) -> tuple[np.ndarray, ...]:
    inner = _inner(case)
    return _by_name(reference.low_rank_scores_vjp(cotangent, *inner.double(), **inner.options))


def forward(case: Case, acc: str) -> Bounded:
    return low_rank_scores.forward(_inner(case), acc)


def vjp(case: Case, cotangent: np.ndarray, acc: str) -> tuple[Bounded, ...]:
    return _by_name(low_rank_scores.vjp(_inner(case), cotangent, acc))


def _inner(case: Case) -> Case:
    x, bias, minus, plus = case.arrays
    return Case((x, plus, minus, bias), {k: o for k, o in case.options.items() if k in OWN})


def _by_name(gradients: Any) -> tuple:
    dx, plus, minus, bias = gradients
    return dx, bias, minus, plus


__all__ = ["calls", "case", "forward", "gradients", "value", "vjp"]
