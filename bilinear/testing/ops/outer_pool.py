"""`outer_pool`: random cases, singular points, error bounds."""

import numpy as np

from .. import bounds
from ..bounds import Bounded
from ..cases import DTYPES, Case, cotangents, pooling_cases, pooling_edges, pooling_smooth

cases = pooling_cases
smooth = pooling_smooth


def edges(dtype: str) -> dict[str, Case]:
    large = np.full((1, 4, 2), 200.0, DTYPES[dtype])
    return pooling_edges(dtype) | {
        "beyond the range of float16": Case((large,), {"reduction": "sum"}),
    }


def output_shape(case: Case) -> tuple[int, ...]:
    x, y = case.arrays[0], case.arrays[-1]
    return (x.shape[0], x.shape[2], y.shape[2])


def forward(case: Case, acc: str) -> Bounded:
    return bounds.outer_pool(*unpack(case), acc)


def vjp(case: Case, cotangent: np.ndarray, acc: str) -> list[Bounded]:
    return vjp_inexact(case, bounds.exact(cotangent.astype(np.longdouble)), acc)


def vjp_inexact(case: Case, g: Bounded, acc: str) -> list[Bounded]:
    x, y, keep, z = unpack(case)
    dy = bounds.outer_pool_vjp(g, x, keep, z, acc, transpose=True)
    if len(case.arrays) == 1:
        return [bounds.outer_pool_vjp(g, y, keep, z, acc, transpose=False, extra=dy)]
    return [bounds.outer_pool_vjp(g, y, keep, z, acc, transpose=False), dy]


def unpack(case: Case):
    """Return x, y, the mask, and Z in a shape that divides the result."""
    x, y = case.upcast()[0], case.upcast()[-1]
    keep = case.options.get("mask")
    z: np.ndarray | int = 1
    if case.options.get("reduction", "mean") == "mean":
        count = np.full(x.shape[0], x.shape[1]) if keep is None else keep.sum(1)
        z = np.maximum(count, 1)[:, None, None]
    return x, y, keep, z


__all__ = ["cases", "cotangents", "edges", "forward", "output_shape", "smooth", "vjp"]
