"""Compact bilinear pooling by random Maclaurin features."""

import jax
import jax.numpy as jnp

from ...contract.sketches import (
    MaclaurinTables,
    SketchReduction,
    check_entries,
    check_random_maclaurin,
)
from ._arrays import ArrayLike, count_locations, round_to, select_streams, specs
from ._products import einsum_of_inputs


def random_maclaurin(
    x: ArrayLike,
    y: ArrayLike | None = None,
    *,
    tables: MaclaurinTables,
    mask: ArrayLike | None = None,
    reduction: SketchReduction = "mean",
) -> jax.Array:
    """Pool products of random signed sums of the channels: ``(w1ᵀ x ∘ w2ᵀ y) / √dim``.

    Args:
        x: features (N, L, C).
        y: features (N, L, D) of the second stream; None means y = x.
        tables: of `maclaurin_tables`; entries of NumPy arrays are checked.
        mask: boolean (N, L); only locations where it is True are pooled. None pools all.
        reduction: ``"mean"``, ``"sum"``, or ``"none"``, which does not pool.

    Returns: Array (N, dim), or (N, L, dim) for ``"none"``.
    Cost: time N·L·(C + D)·dim, memory N·L·dim.
    Specification: `bilinear.reference.random_maclaurin`.
    """
    op = "random_maclaurin"
    check_random_maclaurin(*specs(op, x, y, mask), reduction, tables)
    check_entries(op, tables)
    return round_to(x, random_maclaurin_unchecked(x, y, tables, mask, reduction))


def random_maclaurin_unchecked(x, y, tables, mask, reduction) -> jax.Array:
    dtype, streams = x.dtype, select_streams(x, y, mask)
    x = streams[0]
    signs = [jnp.asarray(w).astype(x.dtype) for w in (tables.w1, tables.w2)]
    pairs = zip(streams, signs, strict=True)
    p, q = (einsum_of_inputs("nlc,ck->nlk", stream, w, dtype) for stream, w in pairs)
    g = p * q / tables.w1.shape[1] ** 0.5
    if reduction == "none":
        return g
    return jnp.sum(g, 1) / (1.0 if reduction == "sum" else count_locations(x, mask))
