"""`AveragePool`: `outer_pool` of a feature map and a constant 1."""

from typing import Any

import numpy as np

from ..cases import Maps, layer_calls, to_locations
from ..operators import Chain, operator, reshape


def calls(dtype: str) -> dict[str, tuple[Maps, dict[str, Any]]]:
    return layer_calls(dtype, (1,))


def specify(maps: Maps, parameters: dict[str, Any], mask: np.ndarray | None) -> Chain:
    (x,), options = to_locations(maps, mask, parameters)
    ones = np.ones((*x.shape[:2], 1), x.dtype)
    pooled = operator("outer_pool", [x, ones], options)
    return Chain(pooled, [reshape((len(x), x.shape[2]))], order=[0])
