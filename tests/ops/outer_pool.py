"""`outer_pool`: draws, hard points, truth with its bound."""

import numpy as np

from bilinear.contract import ACCUMULATION

from .. import bounds
from ..bounds import Bounded
from ._cases import DTYPES, Case, cotangents, pooled_cases, pooled_edges

cases = pooled_cases


def edges(dtype: str) -> dict[str, Case]:
    large = np.full((1, 4, 2), 200.0, DTYPES[dtype])
    return pooled_edges(dtype) | {
        "beyond the half range": Case((large,), {"reduction": "sum"}),
    }


def output_shape(case: Case) -> tuple[int, ...]:
    x, y = case.arrays[0], case.arrays[-1]
    return (x.shape[0], x.shape[2], y.shape[2])


def forward(case: Case) -> Bounded:
    x, y, keep, z, acc = unpack(case)
    return bounds.outer_pool(x, y, keep, z, acc)


def vjp(case: Case, cotangent: np.ndarray) -> list[Bounded]:
    return pooled_vjp(case, bounds.exact(cotangent.astype(np.longdouble)))


def pooled_vjp(case: Case, g: Bounded) -> list[Bounded]:
    x, y, keep, z, acc = unpack(case)
    dy = bounds.outer_pool_vjp(g, x, keep, z, acc, transpose=True)
    if len(case.arrays) == 1:
        return [bounds.outer_pool_vjp(g, y, keep, z, acc, transpose=False, extra=dy)]
    return [bounds.outer_pool_vjp(g, y, keep, z, acc, transpose=False), dy]


def unpack(case: Case):
    """x, y, the mask, Z as an array that divides, and the accumulation dtype."""
    x, y = case.wide()[0], case.wide()[-1]
    keep = case.options.get("mask")
    z: np.ndarray | int = 1
    if case.options.get("reduction", "mean") == "mean":
        kept = np.full(x.shape[0], x.shape[1]) if keep is None else keep.sum(1)
        z = np.maximum(kept, 1)[:, None, None]
    return x, y, keep, z, ACCUMULATION[case.arrays[0].dtype.name]


__all__ = ["cases", "cotangents", "edges", "forward", "output_shape", "vjp"]
