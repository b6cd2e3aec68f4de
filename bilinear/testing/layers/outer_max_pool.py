"""`OuterMaxPool`: `outer_max_pool` on the locations of feature maps, root and norm."""

from typing import Any

import numpy as np

from ..cases import Maps, layer_calls, to_locations
from ..operators import Chain, operator, reshape, root_and_norm


def calls(dtype: str) -> dict[str, tuple[Maps, dict[str, Any]]]:
    """Fewer calls than `BilinearPool` has, because each shape compiles a loop."""
    seen = ("one stream", "two streams", "two streams, masked", "empty batch", "0 ", "3 ")
    given = {k: v for k, v in layer_calls(dtype).items() if k.startswith(seen)}
    given["two streams"][1]["parameters"] = {"eps": 1e-3, "l2_eps": 1e-6}
    return given


def specify(maps: Maps, parameters: dict[str, Any], mask: np.ndarray | None) -> Chain:
    largest = operator("outer_max_pool", *to_locations(maps, mask, parameters))
    flatten = reshape((len(maps[0]), maps[0].shape[-1] * maps[-1].shape[-1]))
    return Chain(largest, root_and_norm(parameters, flatten))
