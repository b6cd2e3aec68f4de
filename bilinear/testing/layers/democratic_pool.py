"""`DemocraticPool` with its default pool; the bounds are derived by linearisation."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...contract import EPS, L2_EPS
from ...contract.aggregation import WEIGHT_EPS
from ..bounds import select_locations
from ..cases import Maps, normal, to_locations
from ..linearization import Roundings, propagate
from ..operators import Operator, operator, options_of
from ..ops.democratic_weights import gradient, select, weights


def calls(dtype: str) -> dict[str, tuple[Maps, dict[str, Any]]]:
    """Few locations and steps, because they determine the cost of the bounds."""
    x, few = normal(dtype, 2, 2, 3, 2), {"parameters": {"steps": 2}}
    keep = np.array([[[True, False, True], [True, True, False]], [[False, True, True]] * 2])
    poisoned = np.where(keep[..., None], x, np.asarray(np.nan, x.dtype))
    other = {"gamma": 0.0, "damping": 0.75, "steps": 1, "eps": 1e-3, "weight_eps": 1e-3}
    detached = {"parameters": {"steps": 1, "detach_target": True}}
    return {
        "defaults": ((x[:, :1],), {}),
        "masked": ((poisoned,), few | {"mask": keep}),
        "other values": ((x,), {"parameters": other}),
        "constant targets": ((x[:, :1],), detached),
        "empty batch": ((x[:0],), few),
        "no spatial axes": ((x[:, 0, 0],), few),
        "three spatial axes": ((x[:, None],), few),
    }


def specify(maps: Maps, parameters: dict[str, Any], mask: np.ndarray | None) -> "Democratic":
    return Democratic(*to_locations(maps, mask, {"weight_eps": WEIGHT_EPS, **parameters}))


class Democratic:
    """The layer, with the methods of `Operator`."""

    def __init__(self, arrays: Sequence[np.ndarray], options: dict[str, Any]) -> None:
        self.weights = operator("democratic_weights", arrays, options)
        self.options = options_of("democratic_weights") | options

    def value(self, acc: str | None = None) -> Any:
        if acc is not None:
            return propagate(_program(self.options, None), self.weights.case.bounded(), acc)
        return self._pooled(self._root()).value()

    def gradients(self, cotangent: Any, acc: str | None = None) -> Sequence[Any]:
        if acc is not None:
            program = _program(self.options, cotangent.value)
            return [propagate(program, self.weights.case.bounded(), acc)]
        (x,), root = self.weights.case.double(), self._root()
        (ct,) = self._pooled(root).gradients(cotangent)
        (through,) = self.weights.gradients((ct * x / (2 * root)).sum(2))
        return [ct * root + through]

    def _root(self) -> np.ndarray:
        return np.sqrt(self.weights.value() + self.options["weight_eps"])[:, :, None]

    def _pooled(self, root: np.ndarray) -> Operator:
        options = {"reduction": "sum", "mask": self.options["mask"]}
        return operator("bilinear_pool", [self.weights.case.double()[0] * root], options)


def _program(options: dict[str, Any], ct: np.ndarray | None) -> Any:
    """Return the program of the descriptor, or, given a cotangent, of the gradient."""
    keep = options["mask"]

    def program(r: Roundings, x: Any) -> Any:
        x = select_locations(x, keep)
        alpha = select(weights(r, x, options)[-1], options)
        root: Any = r(np.sqrt(alpha + options["weight_eps"]), 3)
        root = root[..., None]
        scaled = select_locations(r(x * root), keep)
        g = r.einsum("...lc,...ld->...cd", scaled, scaled)
        flat: Any = g.reshape(*g.shape[:-2], g.shape[-1] ** 2)
        sign = np.sign(flat.real)
        z = r(sign * np.sqrt(sign * flat + EPS), 3)
        norm: Any = r(np.sqrt(r.sum(z * z)), 2)
        floor = norm.real <= L2_EPS
        norm = np.where(floor, L2_EPS, norm)
        u = r(z / norm)
        if ct is None:
            return u
        along = np.where(floor, 0, r.sum(u * ct))
        slope = np.where(sign == 0, 0, 0.5 / np.where(sign == 0, 1, z * sign))
        h = r(r(ct - u * along, 2) / norm * slope, 6).reshape(g.shape)
        of_scaled = r.einsum("...ld,...cd->...lc", scaled, r(h + h.swapaxes(-1, -2)))
        of_root = r.sum(of_scaled * x)
        of_alpha = select(r(of_root / (2 * root), 4)[..., 0], options)
        of_x = r(of_scaled * root, 2) + gradient(r, x, of_alpha, options)
        return select_locations(of_x, keep)

    return program
