"""The pooled outer product of location features."""

import jax

from ...contract import Reduction
from ...contract.pooling import check_outer_pool
from ._arrays import ArrayLike, count_locations, round_to, select_streams, specs
from ._products import einsum_of_inputs


def outer_pool(
    x: ArrayLike,
    y: ArrayLike | None = None,
    *,
    mask: ArrayLike | None = None,
    reduction: Reduction = "mean",
) -> jax.Array:
    """Pool the outer products of two feature vectors over all locations.

    Args:
        x: features (N, L, C).
        y: features (N, L, D) of the second stream; None means y = x.
        mask: boolean (N, L); only locations where it is True are pooled. None pools all.
        reduction: ``"mean"`` divides by the number of pooled locations, ``"sum"`` does not.

    Returns: Array (N, C, D).
    Cost: time O(N·L·C·D), twice that for the gradient; memory N·C·D besides x and y.
    Specification: `bilinear.reference.outer_pool`.
    """
    check_outer_pool(*specs("outer_pool", x, y, mask), reduction)
    return round_to(x, outer_pool_unchecked(x, y, mask, reduction))


def outer_pool_unchecked(x, y, mask, reduction) -> jax.Array:
    g = einsum_of_inputs("nlc,nld->ncd", *select_streams(x, y, mask), x.dtype)
    return g if reduction == "sum" else g / count_locations(x, mask, g.dtype.name)[:, :, None]
