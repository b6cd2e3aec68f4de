"""`HierarchicalBilinearPool`: `hadamard_pool` of projections, root, and norm per pair of maps."""

from typing import Any

import numpy as np

from ... import reference
from ...backends.initial_values import projections
from .. import bounds
from ..bounds import Bounded, exact
from ..cases import Case, Maps, layer_calls, normal, to_locations
from ..contractions import einsum, select_locations
from ..ops import hadamard_pool
from ..root_and_norm import bound, bound_vjp, root_and_norm, root_and_norm_vjp

OWN = ("mask", "reduction")
"""The parameters of the layer that are options of `hadamard_pool`."""


def calls(dtype: str) -> dict[str, tuple[Maps, dict[str, Any]]]:
    """Two or three feature maps."""
    given = layer_calls(dtype, (2,))
    for label, third in (("two streams", {"seed": 1}), ("two streams, masked", {})):
        maps, arguments = given[label]
        more = (*maps, normal(dtype, *maps[0].shape[:-1], 3, seed=2))
        name = label.replace("two streams", "three maps")
        given[name] = more, {**arguments, "parameters": third}
    for maps, arguments in given.values():
        sizes = {"channels": [m.shape[-1] for m in maps], "dim": 4}
        arguments["parameters"] = sizes | arguments.get("parameters", {})
    given["two streams"][1]["parameters"] |= {"reduction": "sum", "eps": 1e-3}
    return given


def case(maps: Maps, parameters: dict[str, Any], mask: np.ndarray | None) -> Case:
    flat, dim = to_locations(maps, mask, parameters), parameters["dim"]
    drawn = projections([(c, dim) for c in parameters["channels"]], parameters.get("seed", 0))
    return Case(flat.arrays + tuple(w.astype(maps[0].dtype) for w in drawn), flat.options)


def value(case: Case) -> np.ndarray:
    return root_and_norm(_by_pairs(_pooled(case), case), case.options).reshape(_pooled(case).shape)


def gradients(case: Case, cotangent: np.ndarray) -> tuple[np.ndarray, ...]:
    maps, weights = _kept(case, case.double())
    h = _pooled(case)
    ct = root_and_norm_vjp(_by_pairs(cotangent, case), _by_pairs(h, case), case.options).reshape(
        h.shape
    )
    projected = [x @ u for x, u in zip(maps, weights, strict=True)]
    of_streams = reference.hadamard_pool_vjp(ct, *projected, **_operator_options(case))
    of_maps = [d @ u.T for d, u in zip(of_streams, weights, strict=True)]
    of_weights = [np.einsum("nlc,nlr->cr", x, d) for x, d in zip(maps, of_streams, strict=True)]
    return *of_maps, *of_weights


def forward(case: Case, acc: str) -> Bounded:
    *_, projected = _projected(case, acc)
    h = hadamard_pool.forward_from_streams(projected, _operator_options(case), acc)
    result = bound(Bounded(*(_by_pairs(part, case) for part in h)), case.options, acc)
    return Bounded(*(part.reshape(h.value.shape) for part in result))


def vjp(case: Case, cotangent: np.ndarray, acc: str) -> tuple[Bounded, ...]:
    maps, weights, projected = _projected(case, acc)
    h = hadamard_pool.forward_from_streams(projected, _operator_options(case), acc)
    pairs = Bounded(*(_by_pairs(part, case) for part in h))
    ct = bound_vjp(_by_pairs(cotangent, case), pairs, case.options, acc)
    ct = Bounded(*(part.reshape(h.value.shape) for part in ct))
    of_streams = hadamard_pool.vjp_from_streams(ct, projected, _operator_options(case), acc)
    of_maps = [
        select_locations(einsum("nlr,cr->nlc", d, u, acc), case.options.get("mask"))
        for d, u in zip(of_streams, weights, strict=True)
    ]
    of_weights = [einsum("nlc,nlr->cr", x, d, acc) for x, d in zip(maps, of_streams, strict=True)]
    return *of_maps, *of_weights


def _by_pairs(h: np.ndarray, case: Case) -> np.ndarray:
    """Reshape to (N, pairs, dim)."""
    return h.reshape(len(h), -1 if len(h) else 1, case.arrays[-1].shape[1])


def _pooled(case: Case) -> np.ndarray:
    maps, weights = _kept(case, case.double())
    projected = [x @ u for x, u in zip(maps, weights, strict=True)]
    return reference.hadamard_pool(*projected, **_operator_options(case))


def _projected(case: Case, acc: str) -> tuple[list[Bounded], list[Bounded], list[Bounded]]:
    maps, weights = ([exact(a) for a in part] for part in _kept(case, case.upcast()))
    both = zip(maps, weights, strict=True)
    return maps, weights, [einsum("nlc,cr->nlr", x, u, acc) for x, u in both]


def _kept(case: Case, arrays: tuple[np.ndarray, ...]) -> tuple[list, list]:
    """Return the masked feature maps, and the weights."""
    count, keep = len(arrays) // 2, case.options.get("mask")
    return [bounds.select_locations(x, keep) for x in arrays[:count]], list(arrays[count:])


def _operator_options(case: Case) -> dict[str, Any]:
    return {k: o for k, o in case.options.items() if k in OWN}


__all__ = ["calls", "case", "forward", "gradients", "value", "vjp"]
