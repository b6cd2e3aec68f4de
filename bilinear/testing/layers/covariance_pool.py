"""`CovariancePool`: the upper triangle of the square root of the covariance over locations."""

from typing import Any

import numpy as np

from ..cases import Maps, layer_calls, normal, to_locations
from ..operators import Chain, operator, step


def calls(dtype: str) -> dict[str, tuple[Maps, dict[str, Any]]]:
    given = layer_calls(dtype, (1,))
    given["masked"][1]["parameters"] = {"normalize": "frobenius", "isometric": True}
    eigen = {"method": "eigen", "tol": 2.0**-10}
    maps, few = given["one stream"][0], (normal(dtype, 2, 2, 1, 5),)
    return {
        "fewer locations than channels": (few, {}),
        **given,
        "by eigenvectors": (maps, {"parameters": eigen}),
        "by eigenvectors, fewer locations": (few, {"parameters": eigen}),
    }


def specify(maps: Maps, parameters: dict[str, Any], mask: np.ndarray | None) -> Chain:
    root = operator("covariance_sqrt", *to_locations(maps, mask, parameters))
    return Chain(root, [step("half_vectorize", {"isometric": False, **parameters})])
