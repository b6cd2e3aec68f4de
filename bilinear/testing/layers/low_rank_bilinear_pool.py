"""`LowRankBilinearPool`: `low_rank_pool` of feature maps and learned weights, root and norm."""

from typing import Any

import numpy as np

from ... import reference
from ...backends.initial_values import low_rank_projections
from ..bounds import Bounded
from ..cases import Case, Maps, layer_calls, to_locations
from ..ops import low_rank_pool
from ..root_and_norm import bound, bound_vjp, root_and_norm, root_and_norm_vjp

OWN = ("activation", "rank", "mask", "reduction")
"""The parameters of the layer that are options of `low_rank_pool`."""


def calls(dtype: str) -> dict[str, tuple[Maps, dict[str, Any]]]:
    given = layer_calls(dtype)
    for maps, arguments in given.values():
        channels = [m.shape[-1] for m in maps]
        arguments["parameters"] = {"channels": channels if maps[1:] else channels[0], "dim": 3}
    given["two streams"][1]["parameters"] |= {"rank": 2, "activation": "tanh", "seed": 1}
    given["masked"][1]["parameters"] |= {"reduction": "sum", "activation": "sigmoid"}
    return given


def case(maps: Maps, parameters: dict[str, Any], mask: np.ndarray | None) -> Case:
    flat = to_locations(maps, mask, parameters)
    rank, seed = parameters.get("rank", 1), parameters.get("seed", 0)
    weights = low_rank_projections(parameters["channels"], parameters["dim"], rank, seed)
    learned = tuple(weight.astype(maps[0].dtype) for weight in weights)
    return Case(flat.arrays + learned, flat.options)


def value(case: Case) -> np.ndarray:
    inner = _operator_case(case)
    return root_and_norm(reference.low_rank_pool(*inner.double(), **inner.options), case.options)


def gradients(case: Case, cotangent: np.ndarray) -> tuple[np.ndarray, ...]:
    inner = _operator_case(case)
    h = reference.low_rank_pool(*inner.double(), **inner.options)
    ct = root_and_norm_vjp(cotangent, h, case.options)
    return _maps_first(reference.low_rank_pool_vjp(ct, *inner.double(), **inner.options))


def forward(case: Case, acc: str) -> Bounded:
    return bound(low_rank_pool.forward(_operator_case(case), acc), case.options, acc)


def vjp(case: Case, cotangent: np.ndarray, acc: str) -> tuple[Bounded, ...]:
    h = low_rank_pool.forward(_operator_case(case), acc)
    ct = bound_vjp(cotangent, h, case.options, acc)
    return _maps_first(low_rank_pool.vjp_inexact(_operator_case(case), ct, acc))


def _operator_case(case: Case) -> Case:
    """Return the call of the operator, which takes the weights between the streams."""
    x, *second, u, v = case.arrays
    return Case((x, u, v, *second), {k: o for k, o in case.options.items() if k in OWN})


def _maps_first(gradients: Any) -> tuple:
    dx, du, dv, *second = gradients
    return dx, *second, du, dv


__all__ = ["calls", "case", "forward", "gradients", "value", "vjp"]
