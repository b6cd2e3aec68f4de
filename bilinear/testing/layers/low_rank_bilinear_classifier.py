"""`LowRankBilinearClassifier`: `low_rank_scores` of a feature map and the learned weights."""

from typing import Any

import numpy as np

from ...backends.initial_values import classifier_projections
from ..cases import Maps, layer_calls, to_locations
from ..operators import Chain, operator


def calls(dtype: str) -> dict[str, tuple[Maps, dict[str, Any]]]:
    given = layer_calls(dtype, (1,))
    for (x,), arguments in given.values():
        sizes = {"channels": x.shape[-1], "num_classes": 4, "rank": 3}
        arguments["parameters"] = sizes
    given["one stream"][1]["parameters"] |= {"rank": 1, "seed": 1}
    given["masked"][1]["parameters"] |= {"reduction": "mean"}
    return given


def specify(maps: Maps, parameters: dict[str, Any], mask: np.ndarray | None) -> Chain:
    arrays, options = to_locations(maps, mask, parameters)
    classes, rank, seed = (parameters.get(name, 0) for name in ("num_classes", "rank", "seed"))
    plus, minus = classifier_projections(parameters["channels"], classes, rank, seed)
    learned = (w.astype(maps[0].dtype) for w in (plus, minus, np.zeros(classes)))
    # the weights are called bias, u_minus, u_plus
    return Chain(operator("low_rank_scores", [*arrays, *learned], options), [], order=[0, 3, 2, 1])
