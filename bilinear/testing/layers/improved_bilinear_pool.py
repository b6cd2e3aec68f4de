"""`ImprovedBilinearPool`: matrix root of the pooled outer product, elementwise root, L2 norm."""

from typing import Any

import numpy as np

from ... import reference
from .. import bounds
from ..bounds import Bounded
from ..cases import Case, Maps, layer_calls, to_locations
from ..ops import matrix_sqrt, outer_pool

DEFAULTS = {"eps": 1e-10, "root": "signed", "l2_eps": 1e-12}


def calls(dtype: str) -> dict[str, tuple[Maps, dict[str, Any]]]:
    given = layer_calls(dtype, (1,))
    shifted = {"eps": 1e-5, "root": "shifted", "reduction": "sum", "normalize": "trace"}
    given["masked"][1]["parameters"] = shifted
    maps = given["one stream"][0]
    return given | {"by eigenvectors": (maps, {"parameters": {"method": "eigen"}})}


def case(maps: Maps, parameters: dict[str, Any], mask: np.ndarray | None) -> Case:
    return to_locations(maps, mask, {"normalize": "frobenius", **parameters})


def value(case: Case) -> np.ndarray:
    _, flat, given = _roots(case)
    s = reference.signed_sqrt(flat, eps=given["eps"], root=given["root"])
    return reference.l2_normalize(s, eps=given["l2_eps"])


def gradients(case: Case, cotangent: np.ndarray) -> tuple[np.ndarray, ...]:
    g, flat, given = _roots(case)
    power = {"eps": given["eps"], "root": given["root"]}
    s = reference.signed_sqrt(flat, **power)
    (ct,) = reference.l2_normalize_vjp(cotangent, s, eps=given["l2_eps"])
    (ct,) = reference.signed_sqrt_vjp(ct, flat, **power)
    (ct,) = reference.matrix_sqrt_vjp(ct.reshape(g.shape), g, **_of_root(case))
    return reference.outer_pool_vjp(ct, *case.double(), **_of_pool(case))


def forward(case: Case, acc: str) -> Bounded:
    _, flat, given = _bounded_roots(case, acc)
    s = bounds.signed_sqrt(flat, given["eps"], acc, given["root"])
    return bounds.l2_normalize(s, given["l2_eps"], acc)


def vjp(case: Case, cotangent: np.ndarray, acc: str) -> list[Bounded]:
    g, flat, given = _bounded_roots(case, acc)
    s = bounds.signed_sqrt(flat, given["eps"], acc, given["root"])
    ct = bounds.exact(cotangent.astype(np.longdouble))
    ct = bounds.l2_normalize_vjp(ct, s, given["l2_eps"], acc)
    ct = bounds.signed_sqrt_vjp(ct, flat, given["eps"], acc, given["root"])
    ct = Bounded(*(part.reshape(g.value.shape) for part in ct))
    return outer_pool.vjp_inexact(case, matrix_sqrt.root_vjp(ct, g, _of_root(case), acc), acc)


def _roots(case: Case) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Return the pooled matrices, their roots as vectors, and the options of the next steps."""
    g = reference.outer_pool(*case.double(), **_of_pool(case))
    root = reference.matrix_sqrt(g, **_of_root(case))
    return g, root.reshape(len(g), g.shape[1] ** 2), DEFAULTS | case.options


def _bounded_roots(case: Case, acc: str) -> tuple[Bounded, Bounded, dict[str, Any]]:
    g = outer_pool.forward(case, acc)
    root = matrix_sqrt.root(g, _of_root(case), acc)
    shape = len(g.value), g.value.shape[1] ** 2
    return g, Bounded(*(part.reshape(shape) for part in root)), DEFAULTS | case.options


def _of_root(case: Case) -> dict[str, Any]:
    return {k: v for k, v in case.options.items() if k in matrix_sqrt.DEFAULTS}


def _of_pool(case: Case) -> dict[str, Any]:
    return {k: v for k, v in case.options.items() if k in ("mask", "reduction")}


__all__ = ["calls", "case", "forward", "gradients", "value", "vjp"]
