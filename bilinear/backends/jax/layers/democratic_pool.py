"""`DemocraticPool`: democratic aggregation in front of a pooling layer."""

from typing import Any

import jax
import jax.numpy as jnp

from ....contract import EPS, check_floor
from ....contract.aggregation import DAMPING, GAMMA, STEPS, WEIGHT_EPS, check_inner_pool
from ....contract.layer_arguments import DemocraticPoolArguments
from .._arrays import ArrayLike, round_to, spec, upcast
from ..democratic_weights import democratic_weights_unchecked
from ._layer import Module, Pool
from .bilinear_pool import BilinearPool


class DemocraticPool(DemocraticPoolArguments, Pool, Module):
    """γ-democratic aggregation: features times √(α + weight_eps), pooled by another layer.

    α are the `democratic_weights` of the locations. The layer is a module because `pool` may have
    parameters.

    Args:
        pool: layer of one stream, called with the scaled feature map and the mask; None (default)
            is ``BilinearPool("sum")``. If it is a classifier, the result is its scores.
        gamma: γ from 0, equal contributions, to 1, sum pooling. Default 0.5.
        damping: of each Sinkhorn step, in (0, 1]. Default 0.5.
        steps: number of Sinkhorn steps, from 1 to 1000. Default 10.
        eps: positive, as in `democratic_weights`. Default 1e-10.
        weight_eps: positive; added to a weight inside the root. Default 1e-8.
        detach_target: as in `democratic_weights`; published code has True. Default False.

    Shape: x (N, *spatial, C), mask (N, *spatial) boolean -> the result of `pool`.
    Cost: time O(N·L²·(C + steps)) and memory O(N·L² + N·L·steps), plus the cost of `pool`.
    References: Lin, Maji, Koniusz, "Second-order Democratic Aggregation", ECCV 2018.
    """

    class_name = "DemocraticPool"

    def __init__(
        self,
        pool: Any = None,
        *,
        gamma: float = GAMMA,
        damping: float = DAMPING,
        steps: int = STEPS,
        eps: float = EPS,
        weight_eps: float = WEIGHT_EPS,
        detach_target: bool = False,
    ) -> None:
        check_inner_pool(pool)
        pool = BilinearPool("sum") if pool is None else pool
        self.set_arguments(locals())

    def __call__(self, x: ArrayLike, *, mask: ArrayLike | None = None) -> jax.Array:
        op, dtype = self.class_name, spec(self.class_name, "x", x).dtype
        locations, _, valid = self.to_locations(x, None, mask)
        check_floor(op, self.eps, dtype)
        check_floor(op, self.weight_eps, dtype, name="weight_eps")
        locations = upcast(locations)  # once, also in the gradient
        options = self.gamma, self.damping, self.steps, self.eps, self.detach_target
        alpha = democratic_weights_unchecked(locations, valid, *options)
        scaled = locations * jnp.sqrt(alpha + float(self.weight_eps))[:, :, None]
        return round_to(x, self.pool(scaled.reshape(x.shape), mask=mask))

    def descriptor_size(self, channels: int, channels_b: int | None = None) -> int:
        """That of `pool`, for which two streams may be an error."""
        return self.pool.descriptor_size(*(c for c in (channels, channels_b) if c is not None))
