"""`BilinearPool`: the operator `bilinear_pool` on the locations of feature maps."""

from typing import Any

import numpy as np

from ..cases import Maps, layer_calls, to_locations
from ..operators import Operator, operator


def calls(dtype: str) -> dict[str, tuple[Maps, dict[str, Any]]]:
    given = layer_calls(dtype)
    given["two streams"][1]["parameters"] = {"reduction": "sum", "eps": 1e-3}
    (x,), masked = given["masked"][0], given["masked"][1]
    forms = {"packed": True, "root": "shifted", "eps": 1e-5, "norm": "added"}
    packed = {"packed": ((x,), masked | {"parameters": {"packed": True}})}
    return given | packed | {"packed, other forms": (given["one stream"][0], {"parameters": forms})}


def specify(maps: Maps, parameters: dict[str, Any], mask: np.ndarray | None) -> Operator:
    return operator("bilinear_pool", *to_locations(maps, mask, parameters))
