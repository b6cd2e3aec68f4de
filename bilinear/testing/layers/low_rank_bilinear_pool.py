"""`LowRankBilinearPool`: `low_rank_pool` of feature maps and learned weights, root and norm."""

from typing import Any

import numpy as np

from ...backends.initial_values import low_rank_projections
from ..cases import Maps, layer_calls, to_locations
from ..operators import Chain, operator, root_and_norm


def calls(dtype: str) -> dict[str, tuple[Maps, dict[str, Any]]]:
    given = layer_calls(dtype)
    for maps, arguments in given.values():
        channels = [m.shape[-1] for m in maps]
        arguments["parameters"] = {"channels": channels if maps[1:] else channels[0], "dim": 3}
    given["two streams"][1]["parameters"] |= {"rank": 2, "activation": "tanh", "seed": 1}
    given["masked"][1]["parameters"] |= {"reduction": "sum", "activation": "sigmoid"}
    return given


def specify(maps: Maps, parameters: dict[str, Any], mask: np.ndarray | None) -> Chain:
    (x, *second), options = to_locations(maps, mask, parameters)
    rank, seed = parameters.get("rank", 1), parameters.get("seed", 0)
    weights = low_rank_projections(parameters["channels"], parameters["dim"], rank, seed)
    learned = (weight.astype(x.dtype) for weight in weights)
    pooled = operator("low_rank_pool", [x, *learned, *second], options)
    return Chain(pooled, root_and_norm(parameters), order=[0, 3, 1, 2] if second else None)
