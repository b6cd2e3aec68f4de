"""`ImprovedBilinearPool`: matrix root of the pooled outer product, elementwise root, L2 norm."""

from typing import Any

import numpy as np

from ..cases import Maps, layer_calls, normal, to_locations
from ..operators import Chain, operator, reshape, root_and_norm


def calls(dtype: str) -> dict[str, tuple[Maps, dict[str, Any]]]:
    given = layer_calls(dtype, (1,))
    shifted = {"eps": 1e-5, "root": "shifted", "reduction": "sum", "normalize": "trace"}
    given["masked"][1]["parameters"] = shifted
    maps, few = given["one stream"][0], (normal(dtype, 2, 2, 1, 5),)
    return {
        "fewer locations than channels": (few, {}),
        **given,
        "by eigenvectors": (maps, {"parameters": {"method": "eigen"}}),
        "by eigenvectors, fewer locations": (few, {"parameters": {"method": "eigen", "tol": 1e-3}}),
    }


def specify(maps: Maps, parameters: dict[str, Any], mask: np.ndarray | None) -> Chain:
    (x,), options = to_locations(maps, mask, {"normalize": "frobenius", **parameters})
    flatten = reshape((len(x), x.shape[2] ** 2))
    root = operator("covariance_sqrt", [x], {"center": False, **options})
    return Chain(root, root_and_norm(parameters, flatten))
