"""`CompactBilinearPool`: a sketch of the feature maps, its signed square root, L2 normalization."""

from typing import Any

import numpy as np

from ... import reference
from ...backends.initial_values import maclaurin_tables, sketch_tables
from ...contract import EPS, L2_EPS
from ...contract.sketches import MaclaurinTables
from .. import bounds
from ..bounds import Bounded
from ..cases import Case, Maps, layer_calls, to_locations
from ..ops import random_maclaurin, tensor_sketch


def calls(dtype: str) -> dict[str, tuple[Maps, dict[str, Any]]]:
    """Few bins for many pairs, so that no bin is empty: the root is not differentiable at 0."""
    given = layer_calls(dtype)
    signs = maclaurin_tables(5, 2, 6, 3)
    for label, (maps, arguments) in given.items():
        counts = [m.shape[-1] for m in maps]
        channels = counts[0] if len(counts) == 1 else counts
        arguments["parameters"] = {"channels": channels, "dim": 3, "seed": 2}
        if label == "two streams":
            other = {"method": "random_maclaurin", "tables": signs, "dim": 6, "seed": None}
            arguments["parameters"] |= other | {"reduction": "sum", "eps": 1e-3}
        if label == "masked":
            arguments["parameters"] |= {"method": "random_maclaurin"}
    return given


def case(maps: Maps, parameters: dict[str, Any], mask: np.ndarray | None) -> Case:
    given = dict(parameters)
    channels, dim, seed = given.pop("channels"), given.pop("dim"), given.pop("seed", 0)
    c, d = (channels, None) if isinstance(channels, int) else channels
    signs = given.pop("method", "") == "random_maclaurin"
    draw = maclaurin_tables if signs else sketch_tables
    given["tables"] = given.get("tables") or draw(c, d, dim, seed)
    return to_locations(maps, mask, given)


def value(case: Case) -> np.ndarray:
    root, norm = _powers(case)
    z = getattr(reference, _operator(case))(*case.double(), **_pooling(case).options)
    return reference.l2_normalize(reference.signed_sqrt(z, eps=root), eps=norm)


def gradients(case: Case, cotangent: np.ndarray) -> tuple[np.ndarray, ...]:
    root, norm = _powers(case)
    arrays, options = case.double(), _pooling(case).options
    z = getattr(reference, _operator(case))(*arrays, **options)
    s = reference.signed_sqrt(z, eps=root)
    (of_s,) = reference.l2_normalize_vjp(cotangent, s, eps=norm)
    (of_z,) = reference.signed_sqrt_vjp(of_s, z, eps=root)
    return getattr(reference, f"{_operator(case)}_vjp")(of_z, *arrays, **options)


def forward(case: Case, acc: str) -> Bounded:
    root, norm = _powers(case)
    z = _ops(case).forward(_pooling(case), acc)
    return bounds.l2_normalize(bounds.signed_sqrt(z, root, acc), norm, acc)


def vjp(case: Case, cotangent: np.ndarray, acc: str) -> list[Bounded]:
    root, norm = _powers(case)
    z = _ops(case).forward(_pooling(case), acc)
    s = bounds.signed_sqrt(z, root, acc)
    of_s = bounds.l2_normalize_vjp(bounds.exact(cotangent.astype(np.longdouble)), s, norm, acc)
    of_z = bounds.signed_sqrt_vjp(of_s, z, root, acc)
    if _operator(case) == "random_maclaurin":
        return random_maclaurin.vjp_inexact(_pooling(case), of_z, acc)
    return tensor_sketch.vjp_inexact(_pooling(case), of_z, acc)


def _operator(case: Case) -> str:
    signs = isinstance(case.options["tables"], MaclaurinTables)
    return "random_maclaurin" if signs else "tensor_sketch"


def _ops(case: Case) -> Any:
    return random_maclaurin if _operator(case) == "random_maclaurin" else tensor_sketch


def _pooling(case: Case) -> Case:
    """Return the call of the operator."""
    names = ("tables", "mask", "reduction")
    return Case(case.arrays, {k: v for k, v in case.options.items() if k in names})


def _powers(case: Case) -> tuple[float, float]:
    return case.options.get("eps", EPS), case.options.get("l2_eps", L2_EPS)


__all__ = ["calls", "case", "forward", "gradients", "value", "vjp"]
