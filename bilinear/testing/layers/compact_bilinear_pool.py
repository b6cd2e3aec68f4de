"""`CompactBilinearPool`: a sketch of the feature maps, its signed square root, L2 normalization."""

from typing import Any

import numpy as np

from ...backends.initial_values import maclaurin_tables, sketch_tables
from ..cases import Maps, layer_calls, to_locations
from ..operators import Chain, operator, root_and_norm


def calls(dtype: str) -> dict[str, tuple[Maps, dict[str, Any]]]:
    """Few bins for many pairs, so that no bin is empty: the root is not differentiable at 0."""
    given = layer_calls(dtype)
    signs = maclaurin_tables(5, 2, 6, 3)
    for label, (maps, arguments) in given.items():
        counts = [m.shape[-1] for m in maps]
        channels = counts[0] if len(counts) == 1 else counts
        arguments["parameters"] = {"channels": channels, "dim": 3, "seed": 2}
        if label == "two streams":
            other = {"method": "random_maclaurin", "tables": signs, "dim": 6, "seed": None}
            arguments["parameters"] |= other | {"reduction": "sum", "eps": 1e-3}
        if label == "masked":
            arguments["parameters"] |= {"method": "random_maclaurin"}
    return given


def specify(maps: Maps, parameters: dict[str, Any], mask: np.ndarray | None) -> Chain:
    method, c = parameters.get("method", "tensor_sketch"), maps[0].shape[-1]
    draw = sketch_tables if method == "tensor_sketch" else maclaurin_tables
    d = maps[1].shape[-1] if maps[1:] else None
    drawn = draw(c, d, parameters["dim"], parameters.get("seed", 0))
    arrays, options = to_locations(maps, mask, {"tables": drawn, **parameters})
    return Chain(operator(method, arrays, options), root_and_norm(parameters))
