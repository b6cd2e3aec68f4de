"""`BilinearPool`: the operator `bilinear_pool` on the locations of feature maps."""

from typing import Any

import numpy as np

from ... import reference
from ..cases import Case, Maps, layer_calls, to_locations
from ..ops.bilinear_pool import forward, vjp


def calls(dtype: str) -> dict[str, tuple[Maps, dict[str, Any]]]:
    given = layer_calls(dtype)
    given["two streams"][1]["parameters"] = {"reduction": "sum", "eps": 1e-3}
    (x,), masked = given["masked"][0], given["masked"][1]
    forms = {"packed": True, "root": "shifted", "eps": 1e-5, "norm": "added"}
    packed = {"packed": ((x,), masked | {"parameters": {"packed": True}})}
    return given | packed | {"packed, other forms": (given["one stream"][0], {"parameters": forms})}


def case(maps: Maps, parameters: dict[str, Any], mask: np.ndarray | None) -> Case:
    return to_locations(maps, mask, parameters)


def value(case: Case) -> np.ndarray:
    return reference.bilinear_pool(*case.double(), **case.options)


def gradients(case: Case, cotangent: np.ndarray) -> tuple[np.ndarray, ...]:
    return reference.bilinear_pool_vjp(cotangent, *case.double(), **case.options)


__all__ = ["calls", "case", "forward", "gradients", "value", "vjp"]
