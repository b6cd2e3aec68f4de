"""The maximum of the outer products of location features."""

import jax
import jax.numpy as jnp

from ...contract.aggregation import check_outer_max_pool
from ._arrays import ArrayLike, round_to, select_streams, specs


def outer_max_pool(
    x: ArrayLike, y: ArrayLike | None = None, *, mask: ArrayLike | None = None
) -> jax.Array:
    """Take the largest product of each pair of channels over all locations.

    Args:
        x: features (N, L, C).
        y: features (N, L, D) of the second stream; None means y = x.
        mask: boolean (N, L); only locations where it is True are compared. None compares all.

    Returns: Array (N, C, D).
    Cost: time O(N·L·C·D). Memory O(N·C·D) and the N·L·D products of one channel at a time. Each
        derivative computes the products again.
    Specification: `bilinear.reference.outer_max_pool`.
    """
    check_outer_max_pool(*specs("outer_max_pool", x, y, mask))
    return round_to(x, outer_max_pool_unchecked(x, y, mask))


def outer_max_pool_unchecked(x, y, mask) -> jax.Array:
    return _by_channel(*select_streams(x, y, mask), None if mask is None else jnp.asarray(mask))


@jax.jit  # an eager loop would be compiled at every call
def _by_channel(x: jax.Array, y: jax.Array, mask: jax.Array | None) -> jax.Array:
    """The maxima of one channel of x at a time."""

    @jax.checkpoint
    def of_channel(channel: jax.Array) -> jax.Array:
        return _maximum(channel[:, :, None] * y, mask)

    return jnp.moveaxis(jax.lax.map(of_channel, jnp.moveaxis(x, 2, 0)), 0, 1)


@jax.custom_jvp
def _maximum(products: jax.Array, mask: jax.Array | None) -> jax.Array:
    """Maximum of products (N, L, D) over valid locations; 0 where there is none."""
    valid = products if mask is None else jnp.where(mask[:, :, None], products, -jnp.inf)
    # XLA's maximum may drop NaN. The array comes first, because `where` returns its second argument
    # for an empty batch, and a scalar is not sharded like the batch.
    largest = jnp.where(~jnp.isnan(products).any(1), valid.max(1), jnp.nan)
    return largest if mask is None else jnp.where(mask.any(1, keepdims=True), largest, 0.0)


@_maximum.defjvp
def _maximum_jvp(primals, tangents):
    """Locations that share a maximum share its gradient equally."""
    products, mask = primals
    largest = _maximum(products, mask)
    reached = ~(products < largest[:, None])  # where the maximum is NaN: everywhere
    if mask is not None:
        reached &= mask[:, :, None]
    count = jnp.maximum(reached.sum(1, dtype=largest.dtype), 1.0)
    scale = jnp.where(jnp.isnan(largest), jnp.nan, 1.0 / count)
    return largest, jnp.where(reached, tangents[0], 0.0).sum(1) * scale
