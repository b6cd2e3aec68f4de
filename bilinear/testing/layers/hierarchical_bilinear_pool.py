"""`HierarchicalBilinearPool`: `hadamard_pool` of projections, root, and norm per pair of maps."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...backends.initial_values import projections
from ..bounds import einsum, select_locations
from ..cases import Case, Maps, layer_calls, normal, to_locations
from ..operators import Chain, Operator, operator, reshape, root_and_norm


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


def specify(maps: Maps, parameters: dict[str, Any], mask: np.ndarray | None) -> Chain:
    arrays, options = to_locations(maps, mask, parameters)
    dim, pairs = parameters["dim"], len(maps) * (len(maps) - 1) // 2
    drawn = projections([(c, dim) for c in parameters["channels"]], parameters.get("seed", 0))
    weights = [w.astype(maps[0].dtype) for w in drawn]
    by_pair, flat = (len(maps[0]), pairs, dim), (len(maps[0]), pairs * dim)
    steps = [*root_and_norm(parameters, reshape(by_pair)), reshape(flat)]
    return Chain(Projected(arrays, weights, options), steps)


class Projected:
    """`hadamard_pool` of projected streams, with the methods of `Operator`."""

    def __init__(self, arrays: Sequence[Any], weights: Sequence[Any], options: dict) -> None:
        keep = options.get("mask")
        self.streams = Case(tuple(select_locations(x, keep) for x in arrays))
        self.weights, self.options = Case(tuple(weights)), options

    def value(self, acc: str | None = None) -> Any:
        return self._pooled(acc).value(acc)

    def gradients(self, cotangent: Any, acc: str | None = None) -> Sequence[Any]:
        of_streams, keep = self._pooled(acc).gradients(cotangent, acc), self.options.get("mask")
        pairs = list(zip(*self._arrays(acc), of_streams, strict=True))
        of_maps = [_einsum("nlr,cr->nlc", d, w, acc) for _, w, d in pairs]
        of_weights = [_einsum("nlc,nlr->cr", x, d, acc) for x, _, d in pairs]
        return [*(select_locations(d, keep) for d in of_maps), *of_weights]

    def _arrays(self, acc: str | None) -> tuple[Sequence[Any], Sequence[Any]]:
        if acc is None:
            return self.streams.double(), self.weights.double()
        return self.streams.bounded(), self.weights.bounded()

    def _pooled(self, acc: str | None) -> Operator:
        pairs = zip(*self._arrays(acc), strict=True)
        projected = [_einsum("nlc,cr->nlr", x, w, acc) for x, w in pairs]
        return operator("hadamard_pool", projected, self.options)


def _einsum(rule: str, a: Any, b: Any, acc: str | None) -> Any:
    return np.einsum(rule, a, b) if acc is None else einsum(rule, a, b, acc)
