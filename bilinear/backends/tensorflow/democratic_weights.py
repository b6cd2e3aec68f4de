"""Weights under which locations contribute more equally to a sum of outer products."""

from typing import Any

import tensorflow as tf

from ...contract import EPS
from ...contract.aggregation import DAMPING, GAMMA, STEPS, check_democratic_weights
from ._tensors import constant, ensure_locations, spec, to_tensors, upcast, without_autograph
from .outer_pool import select_locations


@without_autograph
def democratic_weights(
    x: Any,
    *,
    gamma: float = GAMMA,
    damping: float = DAMPING,
    steps: int = STEPS,
    eps: float = EPS,
    mask: Any = None,
    detach_target: bool = False,
) -> tf.Tensor:
    """Weights of γ-democratic aggregation, by damped Sinkhorn steps.

    Specification: `bilinear.reference.democratic_weights`. Cost: time O(N·L²·(C + steps)), memory
    O(N·L² + N·L·steps).

    Args:
        x: (N, L, C) features.
        gamma: exponent of the target contributions, from 0 (equal) to 1 (sum pooling).
        damping: exponent of a step, above 0 and at most 1.
        steps: number of steps, from 1 to 1000.
        eps: positive; keeps the base of every power away from 0.
        mask: (N, L) boolean, True at the valid locations; None means that all are valid.
        detach_target: treat the targets as constants in the gradient, as published code does.

    Returns: (N, L) in the dtype of x; 0 where the mask is False.
    """
    op = "democratic_weights"
    x, _, mask = to_tensors(op, x, None, mask)
    check_democratic_weights(spec(x), spec(mask), gamma, damping, steps, eps, detach_target)
    x, _, mask = ensure_locations(op, x, None, mask)
    return tf.cast(
        democratic_weights_unchecked(x, mask, gamma, damping, steps, eps, detach_target), x.dtype
    )


def democratic_weights_unchecked(x, mask, gamma, damping, steps, eps, detach_target) -> tf.Tensor:
    x = select_locations(upcast(x), mask)
    k = tf.square(tf.matmul(x, x, transpose_b=True))
    total = tf.reduce_sum(k, 2)
    # the target of a zero vector is 0; the power is computed from a value that is never 0
    dead = tf.equal(tf.stop_gradient(total), constant(0, x))
    c = tf.where(dead, constant(1, x), total) ** constant(gamma, x)
    c = tf.where(dead, constant(0, x), c)
    small = constant(eps, x)
    target = ((tf.stop_gradient(c) if detach_target else c) + small) ** constant(damping, x)
    alpha = tf.ones_like(c)
    for _ in range(steps):
        sums = (tf.linalg.matvec(k, alpha) + small) ** constant(damping, x) + small
        alpha = target * (alpha + small) ** constant(1 - damping, x) / sums
    return alpha if mask is None else tf.where(mask, alpha, constant(0, x))
