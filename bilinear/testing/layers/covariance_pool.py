"""`CovariancePool`: the upper triangle of the square root of the covariance over locations."""

from typing import Any

import numpy as np

from ..cases import Maps, layer_calls, to_locations
from ..operators import Chain, operator, step


def calls(dtype: str) -> dict[str, tuple[Maps, dict[str, Any]]]:
    given = layer_calls(dtype, (1,))
    given["masked"][1]["parameters"] = {"normalize": "frobenius", "isometric": True}
    maps = given["one stream"][0]
    eigen = {"method": "eigen", "tol": 2.0**-10}
    return given | {"by eigenvectors": (maps, {"parameters": eigen})}


def specify(maps: Maps, parameters: dict[str, Any], mask: np.ndarray | None) -> Chain:
    covariance = operator("covariance_pool", *to_locations(maps, mask, parameters))
    triangle = step("half_vectorize", {"isometric": False, **parameters})
    return Chain(covariance, [step("matrix_sqrt", parameters), triangle])
