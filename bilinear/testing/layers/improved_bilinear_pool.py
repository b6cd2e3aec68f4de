"""`ImprovedBilinearPool`: matrix root of the pooled outer product, elementwise root, L2 norm."""

from typing import Any

import numpy as np

from ..cases import Maps, layer_calls, to_locations
from ..operators import Chain, operator, reshape, root_and_norm, step


def calls(dtype: str) -> dict[str, tuple[Maps, dict[str, Any]]]:
    given = layer_calls(dtype, (1,))
    shifted = {"eps": 1e-5, "root": "shifted", "reduction": "sum", "normalize": "trace"}
    given["masked"][1]["parameters"] = shifted
    maps = given["one stream"][0]
    return given | {"by eigenvectors": (maps, {"parameters": {"method": "eigen"}})}


def specify(maps: Maps, parameters: dict[str, Any], mask: np.ndarray | None) -> Chain:
    (x,), options = to_locations(maps, mask, {"normalize": "frobenius", **parameters})
    flatten = reshape((len(x), x.shape[2] ** 2))
    steps = [step("matrix_sqrt", options), *root_and_norm(parameters, flatten)]
    return Chain(operator("outer_pool", [x], options), steps)
