"""`DemocraticPool` with its default pool; the bounds are derived by linearisation."""

from typing import Any

import numpy as np

from ... import reference
from ...contract import EPS as ROOT_EPS
from ...contract import L2_EPS
from ...contract.aggregation import WEIGHT_EPS
from ..bounds import Bounded, exact
from ..cases import Case, Maps, normal, to_locations
from ..linearization import Roundings, propagate
from ..ops.democratic_weights import DEFAULTS, gradient, select_locations, weights


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


def case(maps: Maps, parameters: dict[str, Any], mask: np.ndarray | None) -> Case:
    return to_locations(maps, mask, parameters)


def value(case: Case) -> np.ndarray:
    scaled = case.double()[0] * _root(case)
    return reference.bilinear_pool(scaled, reduction="sum", mask=case.options.get("mask"))


def gradients(case: Case, cotangent: np.ndarray) -> tuple[np.ndarray, ...]:
    (x,), root, mask = case.double(), _root(case), case.options.get("mask")
    (ct,) = reference.bilinear_pool_vjp(cotangent, x * root, reduction="sum", mask=mask)
    of_alpha = (ct * x / (2 * root)).sum(2)
    (through,) = reference.democratic_weights_vjp(of_alpha, x, **_operator_options(case))
    return (ct * root + through,)


def forward(case: Case, acc: str) -> Bounded:
    bounded = propagate(_program(case, None), [exact(case.upcast()[0])], acc)
    assert isinstance(bounded, Bounded)
    return bounded


def vjp(case: Case, cotangent: np.ndarray, acc: str) -> list[Bounded]:
    ct = cotangent.astype(np.longdouble)
    bounded = propagate(_program(case, ct), [exact(case.upcast()[0])], acc)
    assert isinstance(bounded, Bounded)
    return [bounded]


def _operator_options(case: Case) -> dict[str, Any]:
    return {k: v for k, v in case.options.items() if k != "weight_eps"}


def _root(case: Case) -> np.ndarray:
    alpha = reference.democratic_weights(*case.double(), **_operator_options(case))
    return np.sqrt(alpha + case.options.get("weight_eps", WEIGHT_EPS))[:, :, None]


def _program(case: Case, ct: np.ndarray | None) -> Any:
    """Return the program of the descriptor, or, given a cotangent, of the gradient."""
    options: dict[str, Any] = {**DEFAULTS, "weight_eps": WEIGHT_EPS, **case.options}
    mask = options["mask"]

    def select(x: Any) -> Any:
        return x if mask is None else np.where(mask[..., None], x, 0)

    def program(r: Roundings, x: Any) -> Any:
        x = select(x)
        alpha = select_locations(weights(r, x, options)[-1], options)
        root: Any = r(np.sqrt(alpha + options["weight_eps"]), 3)
        root = root[..., None]
        scaled = select(r(x * root))
        g = r.einsum("...lc,...ld->...cd", scaled, scaled)
        flat: Any = g.reshape(*g.shape[:-2], g.shape[-1] ** 2)
        sign = np.sign(flat.real)
        z = r(sign * np.sqrt(sign * flat + ROOT_EPS), 3)
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
        of_alpha = select_locations((r(of_root / (2 * root), 4))[..., 0], options)
        return select(r(of_scaled * root, 2) + gradient(r, x, of_alpha, options))

    return program
