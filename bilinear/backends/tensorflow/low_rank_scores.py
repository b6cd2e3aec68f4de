"""The low-rank bilinear classifier: scores of classes without the bilinear descriptor."""

from typing import Any

import tensorflow as tf

from ...contract import Reduction
from ...contract.low_rank import check_low_rank_scores
from ._tensors import (
    ensure_locations,
    sizes,
    spec,
    to_tensor,
    to_tensors,
    upcast,
    without_autograph,
)
from .low_rank_pool import ensure_weight_sizes, project
from .outer_pool import count_locations, select_locations


@without_autograph
def low_rank_scores(
    x: Any,
    u_plus: Any,
    u_minus: Any,
    bias: Any,
    *,
    mask: Any = None,
    reduction: Reduction = "sum",
) -> tf.Tensor:
    """Scores of a low-rank bilinear classifier.

    Specification: `bilinear.reference.low_rank_scores`. Cost: time O(N·L·C·K·(r₊ + r₋)), memory
    O(N·L·K·(r₊ + r₋)).

    Args:
        x: (N, L, C) features.
        u_plus: (K, C, r₊), the positive parts. One of r₊ and r₋ may be 0.
        u_minus: (K, C, r₋), the negative parts.
        bias: (K,).
        mask: (N, L) boolean, True at the valid locations; None means that all are valid.
        reduction: "sum" as published; "mean" divides by the number of valid locations.

    Returns: (N, K) in the dtype of x.
    """
    op = "low_rank_scores"
    x, _, mask = to_tensors(op, x, None, mask)
    given = {"u_plus": u_plus, "u_minus": u_minus, "bias": bias}
    u_plus, u_minus, bias = (to_tensor(op, name, weight) for name, weight in given.items())
    check_low_rank_scores(spec(x), spec(u_plus), spec(u_minus), spec(bias), spec(mask), reduction)
    x, _, mask = ensure_locations(op, x, None, mask)
    x, bias = ensure_weight_sizes(op, x, "bias", bias, "(K,)", [None])
    expected = [sizes(bias)[0], sizes(x)[2], None]
    x, u_plus = ensure_weight_sizes(op, x, "u_plus", u_plus, "(K, C, r₊)", expected)
    x, u_minus = ensure_weight_sizes(op, x, "u_minus", u_minus, "(K, C, r₋)", expected)
    return tf.cast(low_rank_scores_unchecked(x, u_plus, u_minus, bias, mask, reduction), x.dtype)


def low_rank_scores_unchecked(x, u_plus, u_minus, bias, mask, reduction) -> tf.Tensor:
    x = select_locations(upcast(x), mask)
    difference = _energies(x, upcast(u_plus)) - _energies(x, upcast(u_minus))
    z = count_locations(x, mask, reduction)
    return (difference if z is None else difference / z) + upcast(bias)


def _energies(x: tf.Tensor, u: tf.Tensor) -> tf.Tensor:
    """``Σ_l ‖Uₖᵀ x[l]‖²`` for each class."""
    classes, channels, rank = sizes(u)
    matrix = tf.reshape(tf.transpose(u, [1, 0, 2]), [channels, classes * rank])
    p = project(x, matrix)
    total = tf.reduce_sum(p * p, 1)
    return tf.reduce_sum(tf.reshape(total, [sizes(x)[0], classes, rank]), 2)
