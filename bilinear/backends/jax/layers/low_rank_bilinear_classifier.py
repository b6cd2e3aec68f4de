"""`LowRankBilinearClassifier`: `low_rank_scores` with learned projections as a Flax module."""

import jax
import jax.numpy as jnp
from flax import nnx

from ....contract import Reduction
from ....contract.layer_arguments import CLASSIFIER_RANK, LowRankBilinearClassifierArguments
from ...initial_values import classifier_projections
from .._arrays import ArrayLike, round_to
from ..low_rank_scores import low_rank_scores_unchecked
from ._layer import Module, Pool


class LowRankBilinearClassifier(LowRankBilinearClassifierArguments, Pool, Module):
    """Bilinear classifier of low rank, pooling and classifier in one: `low_rank_scores`.

    There is no root and no normalization. The matrix of each class is ``U₊ U₊ᵀ − U₋ U₋ᵀ`` with
    r₊ + r₋ = rank; r₊ is the larger one if `rank` is odd. u_plus (num_classes, C, r₊), u_minus
    (num_classes, C, r₋), normal with deviation 1/√(C · rank), and bias, 0, are learned.

    Args:
        channels: C.
        num_classes: length of the scores. `BCNN` uses a layer with this attribute as classifier.
        rank: of the matrix of each class, default 8.
        seed: non-negative integer, for equal values in every framework; None is random. Default 0.
        rngs: if given, the seed is drawn from ``rngs.params()``. Default None.
        reduction: ``"sum"`` (default, as published) or ``"mean"`` over the valid locations.

    Shape: x (N, *spatial, C), mask (N, *spatial) boolean -> (N, num_classes).
    Cost: that of `low_rank_scores`.
    References: Kong, Fowlkes, CVPR 2017, section 3.
    """

    class_name = "LowRankBilinearClassifier"

    def __init__(
        self,
        channels: int,
        num_classes: int,
        *,
        rank: int = CLASSIFIER_RANK,
        seed: int | None = 0,
        rngs: nnx.Rngs | None = None,
        reduction: Reduction = "sum",
    ) -> None:
        self.set_arguments(locals())
        plus, minus = classifier_projections(channels, num_classes, rank, self.seed)
        self.u_plus, self.u_minus = nnx.Param(jnp.asarray(plus)), nnx.Param(jnp.asarray(minus))
        self.bias = nnx.Param(jnp.zeros(num_classes, jnp.float32))

    def __call__(self, x: ArrayLike, *, mask: ArrayLike | None = None) -> jax.Array:
        x, _, mask = self.to_locations(x, None, mask, channels=self.channels)
        weights = self.u_plus[...], self.u_minus[...], self.bias[...]
        return round_to(x, low_rank_scores_unchecked(x, *weights, mask, self.reduction))
