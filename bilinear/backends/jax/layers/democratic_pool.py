"""`DemocraticPool`: democratic aggregation in front of a pooling layer."""

from typing import Any

import jax
import jax.numpy as jnp

from ....contract import EPS, check_floor
from ....contract.aggregation import DAMPING, GAMMA, STEPS, WEIGHT_EPS, check_inner_pool
from ....contract.layers import check_arguments
from .._arrays import ArrayLike, round_to, upcast
from ..democratic_weights import democratic_weights_unchecked
from ._feature_maps import to_locations
from ._modules import Module
from .bilinear_pool import BilinearPool


class DemocraticPool(Module):
    """γ-democratic aggregation: features times √(α + weight_eps), pooled by another layer.

    α are the `democratic_weights` of the locations. The layer is a module because `pool` may have
    parameters.

    Args:
        pool: layer of one stream, called with the scaled feature map and the mask; None is
            ``BilinearPool("sum")``. If it is a classifier, the result is its scores.
        gamma: γ from 0, equal contributions, to 1, sum pooling.
        damping: of each Sinkhorn step, in (0, 1].
        steps: number of Sinkhorn steps, at least 1.
        eps: positive, as in `democratic_weights`.
        weight_eps: positive; added to a weight inside the root.
        detach_target: as in `democratic_weights`; published code has True.

    Shape: x (N, *spatial, C), mask (N, *spatial) boolean -> the result of `pool`.
    Cost: time O(N·L²·(C + steps)) and memory O(N·L² + N·L·steps), plus the cost of `pool`.
    References: Lin, Maji, Koniusz, "Second-order Democratic Aggregation", ECCV 2018.
    """

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
        check_arguments("DemocraticPool", locals())
        check_inner_pool(pool)
        self.pool = BilinearPool("sum") if pool is None else pool
        self.gamma, self.damping, self.steps = gamma, damping, steps
        self.eps, self.weight_eps = eps, weight_eps
        self.detach_target = detach_target

    def __call__(self, x: ArrayLike, *, mask: ArrayLike | None = None) -> jax.Array:
        op = "DemocraticPool"
        flat, _, flat_mask, (of_x, _) = to_locations(op, x, None, mask)
        check_floor(op, self.eps, of_x.dtype)
        check_floor(op, self.weight_eps, of_x.dtype, name="weight_eps")
        flat = upcast(flat)  # once, also in the gradient
        options = self.gamma, self.damping, self.steps, self.eps, self.detach_target
        alpha = democratic_weights_unchecked(flat, flat_mask, *options)
        scaled = flat * jnp.sqrt(alpha + float(self.weight_eps))[:, :, None]
        return round_to(x, self.pool(scaled.reshape(x.shape), mask=mask))

    def descriptor_size(self, channels: int, channels_b: int | None = None) -> int:
        """The descriptor size of `pool`; ValueError if it does not support two streams."""
        return self.pool.descriptor_size(*(c for c in (channels, channels_b) if c is not None))
