"""`CovariancePool`: the upper triangle of the square root of the covariance over locations."""

from typing import Any

import numpy as np

from ... import reference
from .. import bounds
from ..bounds import Bounded
from ..cases import Case, Maps, layer_calls, to_locations
from ..ops import covariance_pool, matrix_sqrt


def calls(dtype: str) -> dict[str, tuple[Maps, dict[str, Any]]]:
    given = layer_calls(dtype, (1,))
    given["masked"][1]["parameters"] = {"normalize": "frobenius", "isometric": True}
    maps = given["one stream"][0]
    eigen = {"method": "eigen", "tol": 2.0**-10}
    return given | {"by eigenvectors": (maps, {"parameters": eigen})}


def case(maps: Maps, parameters: dict[str, Any], mask: np.ndarray | None) -> Case:
    return to_locations(maps, mask, parameters)


def value(case: Case) -> np.ndarray:
    root, isometric = _split(case)
    c = reference.covariance_pool(*case.double(), **_mask(case))
    return reference.half_vectorize(reference.matrix_sqrt(c, **root), isometric=isometric)


def gradients(case: Case, cotangent: np.ndarray) -> tuple[np.ndarray, ...]:
    root, isometric = _split(case)
    c = reference.covariance_pool(*case.double(), **_mask(case))
    (ct,) = reference.half_vectorize_vjp(cotangent, c, isometric=isometric)
    (ct,) = reference.matrix_sqrt_vjp(ct, c, **root)
    return reference.covariance_pool_vjp(ct, *case.double(), **_mask(case))


def forward(case: Case, acc: str) -> Bounded:
    root, isometric = _split(case)
    c = covariance_pool.forward(case, acc)
    return bounds.half_vectorize(matrix_sqrt.root(c, root, acc), acc, isometric=isometric)


def vjp(case: Case, cotangent: np.ndarray, acc: str) -> list[Bounded]:
    root, isometric = _split(case)
    c, ct = covariance_pool.forward(case, acc), bounds.exact(cotangent.astype(np.longdouble))
    ct = bounds.half_vectorize_vjp(ct, c.value.shape[-1], acc, isometric=isometric)
    return covariance_pool.vjp_inexact(case, matrix_sqrt.root_vjp(ct, c, root, acc), acc)


def _split(case: Case) -> tuple[dict[str, Any], bool]:
    """Return the options of the root, and `isometric`."""
    root = {k: v for k, v in case.options.items() if k in matrix_sqrt.DEFAULTS}
    return root, case.options.get("isometric", False)


def _mask(case: Case) -> dict[str, Any]:
    return {k: v for k, v in case.options.items() if k == "mask"}


__all__ = ["calls", "case", "forward", "gradients", "value", "vjp"]
