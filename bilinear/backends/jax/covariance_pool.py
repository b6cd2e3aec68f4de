"""The pooled covariance of location features."""

import jax
import jax.numpy as jnp

from ...contract.matrices import check_covariance_pool
from ._arrays import (
    ArrayLike,
    count_locations,
    einsum,
    round_to,
    select_locations,
    specs,
    upcast,
)


def covariance_pool(
    x: ArrayLike, y: ArrayLike | None = None, *, mask: ArrayLike | None = None
) -> jax.Array:
    """Compute the covariance of two feature vectors over all locations.

    Args:
        x: features (N, L, C).
        y: features (N, L, D) of the second stream; None means y = x.
        mask: boolean (N, L); only locations where it is True are pooled. None pools all.

    Returns: Array (N, C, D).
    Cost: time O(N·L·C·D); memory N·C·D and two centered copies of the features.
    Specification: `bilinear.reference.covariance_pool`.
    """
    check_covariance_pool(*specs("covariance_pool", x, y, mask))
    return round_to(x, covariance_pool_unchecked(x, y, mask))


def covariance_pool_unchecked(x, y, mask) -> jax.Array:
    """The formula; features are centered before the product, so a large mean costs no digits."""
    z = count_locations(upcast(x), mask)[:, :, None]
    x_centered = center_locations(x, mask, z)
    y_centered = x_centered if y is None else center_locations(y, mask, z)
    return einsum("nlc,nld->ncd", x_centered, y_centered) / z


def center_locations(x: ArrayLike, mask: ArrayLike | None, z: jax.Array) -> jax.Array:
    """Features less their mean over the valid locations; 0 at the others."""
    x = select_locations(x, mask)
    return select_locations(x - jnp.sum(x, axis=1, keepdims=True) / z, mask)
