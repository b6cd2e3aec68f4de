"""`DemocraticPool`: democratic aggregation in front of a pooling layer."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from ....contract import EPS, check_floor
from ....contract.aggregation import DAMPING, GAMMA, STEPS, WEIGHT_EPS, check_inner_pool
from ....contract.layers import check_arguments
from .._arrays import ArrayLike, spec, wide
from ..democratic_weights import weights
from ._maps import flattened
from .bilinear_pool import BilinearPool


class DemocraticPool(nnx.Module):
    """γ-democratic aggregation: maps scaled by √(α + weight_eps), then pooled by `pool`.

    α are the `democratic_weights` of the map's places. `pool` is any layer of one stream, with
    state or without, called with the scaled map and the mask; None is ``BilinearPool("sum")``. A
    classifier may be one: the result is its scores. Published code has ``detach_target=True``, and
    sums. A module, since `pool` may learn.

    Shapes: x (N, *spatial, C), mask (N, *spatial) -> what `pool` makes of such a map.
    Gradient: the true one, through α too; that of √(α + weight_eps) is finite at α = 0.
    Edges: those of `democratic_weights` and of `pool`; half types are scaled in float32, and are
        rounded once at the end.
    Cost: of L places, time O(N·L²·(C + steps)) and memory O(N·L² + N·L·steps), and those of `pool`.
    Raises: ValueError and TypeError as `bilinear.contract.aggregation.check_democracy` when made
        and `check_inner_pool` there, and `bilinear.contract.check_operands` when called.
    Source: Lin, Maji, Koniusz, "Second-order Democratic Aggregation", ECCV 2018.
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
        self.gamma = gamma
        self.damping = damping
        self.steps = steps
        self.eps = eps
        self.weight_eps = weight_eps
        self.detach_target = detach_target

    def __call__(self, x: ArrayLike, mask: ArrayLike | None = None) -> jax.Array:
        op = "DemocraticPool"
        places, _, kept = flattened(op, x, None, mask)
        numbers = self.gamma, self.damping, self.steps, self.eps, self.detach_target
        dtype = spec(op, "x", x).dtype
        check_floor(op, self.eps, dtype)
        check_floor(op, self.weight_eps, dtype, name="weight_eps")
        x, places = jnp.asarray(x), wide(jnp.asarray(places))  # widened once, also in the gradient
        alpha = weights(places, kept, *numbers)
        scaled = places * jnp.sqrt(alpha + float(self.weight_eps))[:, :, None]
        return self.pool(scaled.reshape(x.shape), mask=mask).astype(x.dtype)

    def descriptor_size(self, channels: int, channels_b: int | None = None) -> int:
        """That of `pool`, which may refuse a second stream."""
        return self.pool.descriptor_size(*(c for c in (channels, channels_b) if c is not None))
