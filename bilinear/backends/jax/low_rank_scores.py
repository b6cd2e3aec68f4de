"""The low-rank bilinear classifier: scores of classes without the bilinear descriptor."""

from typing import Any

import jax
import jax.numpy as jnp

from ...contract import Reduction
from ...contract.low_rank import check_low_rank_scores
from ._arrays import ArrayLike, count_locations, round_to, select_locations, spec, specs
from .low_rank_pool import project


def low_rank_scores(
    x: ArrayLike,
    u_plus: ArrayLike,
    u_minus: ArrayLike,
    bias: ArrayLike,
    *,
    mask: ArrayLike | None = None,
    reduction: Reduction = "sum",
) -> jax.Array:
    """Compute scores ``⟨U₊ₖ U₊ₖᵀ − U₋ₖ U₋ₖᵀ, outer_pool(x)⟩ + b[k]`` without the pooled matrix.

    Args:
        x: features (N, L, C).
        u_plus: factors (K, C, r₊) of the positive part of each class; one of r₊, r₋ may be 0.
        u_minus: factors (K, C, r₋) of the negative part.
        bias: b (K,).
        mask: boolean (N, L); only locations where it is True are pooled. None pools all.
        reduction: ``"sum"`` as published, or ``"mean"`` over the pooled locations.

    Returns: Array (N, K).
    Cost: time N·L·C·K·(r₊ + r₋), memory N·L·K·(r₊ + r₋).
    Specification: `bilinear.reference.low_rank_scores`.
    """
    op = "low_rank_scores"
    of_x, _, of_mask = specs(op, x, None, mask)
    of_plus, of_minus = spec(op, "u_plus", u_plus), spec(op, "u_minus", u_minus)
    of_bias = spec(op, "bias", bias)
    check_low_rank_scores(of_x, of_plus, of_minus, of_bias, of_mask, reduction)
    return round_to(x, low_rank_scores_unchecked(x, u_plus, u_minus, bias, mask, reduction))


def low_rank_scores_unchecked(x, u_plus, u_minus, bias, mask, reduction) -> jax.Array:
    """The formula, in the accumulation dtype of x; the weights are cast to it."""
    dtype, x = x.dtype, select_locations(x, mask)
    # A mesh with explicit axes cannot reshape the empty products of a rank of 0.
    plus, minus = (0.0 if u.shape[2] == 0 else _energies(x, u, dtype) for u in (u_plus, u_minus))
    scores = plus - minus
    if reduction == "mean":
        scores = scores / count_locations(x, mask)
    return scores + jnp.asarray(bias).astype(x.dtype)[None]


def _energies(x: jax.Array, u: ArrayLike, dtype: Any) -> jax.Array:
    """``Σ_l ‖Uₖᵀ x[l]‖²`` of every class."""
    classes, channels, rank = u.shape
    u = jnp.moveaxis(jnp.asarray(u), 0, 1).reshape(channels, classes * rank)
    p = project(x, u, dtype)
    return jnp.sum(p * p, axis=1).reshape(x.shape[0], classes, rank).sum(2)
