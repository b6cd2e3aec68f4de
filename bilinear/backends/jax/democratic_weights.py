"""Weights under which locations contribute more equally to a sum of outer products."""

import functools

import jax
import jax.numpy as jnp

from ...contract import EPS
from ...contract.aggregation import DAMPING, GAMMA, STEPS, check_democratic_weights
from ._arrays import ArrayLike, einsum, round_to, select_locations, specs
from ._products import einsum_of_inputs


def democratic_weights(
    x: ArrayLike,
    *,
    gamma: float = GAMMA,
    damping: float = DAMPING,
    steps: int = STEPS,
    eps: float = EPS,
    mask: ArrayLike | None = None,
    detach_target: bool = False,
) -> jax.Array:
    """Find the weights of γ-democratic aggregation, by damped Sinkhorn steps.

    Args:
        x: features (N, L, C).
        gamma: γ from 0, equal contributions, to 1, sum pooling.
        damping: τ of each step, in (0, 1].
        steps: number of steps, from 1 to 1000.
        eps: positive; added to each divisor and to the base of each power.
        mask: boolean (N, L); only locations where it is True take part. None takes all.
        detach_target: make the target a constant of the gradient, as published code does.

    Returns: Array (N, L), 0 where the mask is False.
    Cost: time O(N·L²·(C + steps)), memory O(N·L² + N·L·steps).
    Specification: `bilinear.reference.democratic_weights`.
    """
    of_x, _, of_mask = specs("democratic_weights", x, None, mask)
    check_democratic_weights(of_x, of_mask, gamma, damping, steps, eps, detach_target)
    options = gamma, damping, steps, eps, detach_target
    return round_to(x, democratic_weights_unchecked(x, mask, *options))


def democratic_weights_unchecked(x, mask, gamma, damping, steps, eps, detach_target) -> jax.Array:
    values = float(gamma), float(damping), float(eps)  # NumPy's would make float32 float64
    options = int(steps), bool(detach_target), x.dtype
    alpha = _sinkhorn(select_locations(x, mask), *values, *options)
    return alpha if mask is None else jnp.where(mask, alpha, 0.0)


@functools.partial(jax.jit, static_argnums=(4, 5, 6))  # an eager loop would compile at every call
def _sinkhorn(x, gamma, damping, eps, steps, detach_target, dtype) -> jax.Array:
    k = einsum_of_inputs("nlc,nmc->nlm", x, x, dtype) ** 2
    total = k.sum(2)
    zero = total == 0  # a zero vector; the power is taken of a value that is never 0
    c = jnp.where(zero, 0.0, jnp.where(zero, 1.0, total) ** gamma)
    target = ((jax.lax.stop_gradient(c) if detach_target else c) + eps) ** damping

    def step(alpha: jax.Array, _: None) -> tuple[jax.Array, None]:
        sums = einsum("nlm,nm->nl", k, alpha)
        return target * (alpha + eps) ** (1 - damping) / ((sums + eps) ** damping + eps), None

    ones = jnp.ones_like(x[:, :, 0])  # sharded like x, which c of an empty batch is not
    return jax.lax.scan(step, ones, None, length=steps)[0]
