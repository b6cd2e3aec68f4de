"""The pooled element-wise products of streams."""

import itertools

import numpy as np

from ..contract import Reduction
from ..contract.low_rank import check_hadamard_pool
from ._arrays import Array, round_to, spec, upcast
from .outer_pool import _divisor, _select


def hadamard_pool(
    x: Array,
    y: Array,
    *more: Array,
    rank: int = 1,
    mask: Array | None = None,
    reduction: Reduction = "mean",
) -> Array:
    """Pool the element-wise products of every pair of streams over all locations.

    For streams i < j, in the order (0, 1), (0, 2), …, (1, 2), …: ``h[n,k] = (1/Z) Σ_l Σ_r
    xᵢ[n,l,r] · xⱼ[n,l,r]`` over the valid locations and over the window ``k·rank ≤ r <
    (k+1)·rank``; Z is the number of valid locations for ``"mean"`` and 1 for ``"sum"``.

    Args:
        x: features of the first stream, (N, L, R).
        y: features of the second stream, (N, L, R).
        more: features of further streams, (N, L, R) each.
        rank: number of consecutive channels that are summed, a divisor of R. Default 1.
        mask: boolean, (N, L), True at valid locations; None is all. Default None.
        reduction: ``"mean"`` divides by the number of valid locations, ``"sum"`` does not.
            Default ``"mean"``.

    Returns:
        Sums (N, pairs · R / rank) in the dtype of x, in the order (0, 1), (0, 2), …, (1, 2), ….

    Shape:
        each stream (N, L, R), mask (N, L) boolean -> (N, pairs · R / rank), pair by pair.

    Gradient:
        For the cotangent γ of a pair, repeated over its windows, ``∂xᵢ[l] = γ ∘ xⱼ[l] / Z`` and
        ``∂xⱼ[l] = γ ∘ xᵢ[l] / Z``. The gradient of a stream is the sum over its pairs.
        A location where the mask is False does not contribute, even if it is NaN, and its gradient
        is 0. A sample without valid locations has value 0 and gradient 0. The mask has no
        gradient.

    Raises:
        ValueError for empty or unequal sizes (N = 0 is allowed) or a rank that does not divide R,
        TypeError for integer or complex features, unequal dtypes, or a mask that is not boolean.

    Example:
        >>> hadamard_pool(np.ones((2, 49, 8)), np.ones((2, 49, 8)), rank=2).shape
        (2, 4)

    References:
        Kim et al., "Hadamard Product for Low-rank Bilinear Pooling", ICLR 2017, section 3;
        windows: Yu et al., "Multi-modal Factorized Bilinear Pooling", ICCV 2017, section 3; pairs
        of layers: Yu et al., "Hierarchical Bilinear Pooling", ECCV 2018. Pooling over locations
        follows the last one.
    """
    streams = (x, y, *more)
    check_hadamard_pool([spec(s) for s in streams], rank, spec(mask), reduction)
    result = _hadamard_pool(*map(upcast, streams), rank=rank, mask=mask, reduction=reduction)
    return round_to(result, x)


def hadamard_pool_vjp(
    cotangent: Array,
    x: Array,
    y: Array,
    *more: Array,
    rank: int = 1,
    mask: Array | None = None,
    reduction: Reduction = "mean",
) -> tuple[Array, ...]:
    """Gradient of ``⟨cotangent, hadamard_pool(x, y, …)⟩`` with respect to each stream."""
    streams = (x, y, *more)
    check_hadamard_pool([spec(s) for s in streams], rank, spec(mask), reduction)
    arrays = map(upcast, (cotangent, *streams))
    gradients = _hadamard_pool_vjp(*arrays, rank=rank, mask=mask, reduction=reduction)
    return tuple(round_to(gradient, x) for gradient in gradients)


def _hadamard_pool(x, y, *more, rank=1, mask=None, reduction="mean"):
    streams = [_select(s, mask) for s in (x, y, *more)]
    z = _divisor(x, mask, reduction)
    pooled = [
        np.sum(a * b, axis=1, keepdims=True) / z for a, b in itertools.combinations(streams, 2)
    ]
    products = np.concatenate(pooled, axis=2)[:, 0]
    windows = [products[:, i::rank] for i in range(rank)]
    return np.sum(windows, axis=0, dtype=products.dtype)


def _hadamard_pool_vjp(ct, x, y, *more, rank=1, mask=None, reduction="mean"):
    streams = [_select(s, mask) for s in (x, y, *more)]
    z = _divisor(x, mask, reduction)
    pairs = list(itertools.combinations(range(len(streams)), 2))
    spread = np.split(np.repeat(ct, rank, axis=1)[:, None], len(pairs), axis=2)
    gradients = [np.zeros_like(s) for s in streams]
    for (i, j), g in zip(pairs, spread, strict=True):
        gradients[i] = gradients[i] + g * streams[j] / z
        gradients[j] = gradients[j] + g * streams[i] / z
    return tuple(_select(gradient, mask) for gradient in gradients)
