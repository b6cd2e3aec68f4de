"""`LowRankBilinearPool`: `low_rank_pool`, root and norm with learned projections."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx

from ....contract import EPS, L2_EPS, Reduction
from ....contract.layer_arguments import DIM, LowRankBilinearPoolArguments
from ....contract.low_rank import Activation
from ...initial_values import low_rank_projections
from .._arrays import ArrayLike
from ..low_rank_pool import low_rank_pool_unchecked
from ._layer import Module, Pool


class LowRankBilinearPool(LowRankBilinearPoolArguments, Pool, Module):
    """Low-rank bilinear pooling: ``l2_normalize(signed_sqrt(low_rank_pool(x, u, v, y)))``.

    u (C, dim · rank) and v (D, dim · rank) are learned, initially normal with deviation 1/√C.
    Without activation, ``rank=1`` is the pooling of MLB (Kim et al.), a larger rank that of MFB.

    Args:
        channels: C for one stream, [C, D] for two.
        dim: length of the descriptor, default 8192.
        rank: number of products that are summed for each entry, default 1.
        activation: of the projections, None (default), ``"tanh"``, ``"relu"`` or ``"sigmoid"``.
        seed: non-negative integer, for equal values in every framework; None is random. Default 0.
        rngs: if given, the seed is drawn from ``rngs.params()``. Default None.
        reduction: ``"mean"`` (default) over the valid locations, or ``"sum"``.
        eps: added inside the signed square root, at least 0. Default 1e-10.
        l2_eps: positive; lower bound of the norm. Default 1e-12.

    Shape: x (N, *spatial, C), y (N, *spatial, D), mask (N, *spatial) boolean -> (N, dim).
    Cost: that of `low_rank_pool` with R = dim · rank; the weights have (C + D)·R values.
    References: Kim et al., ICLR 2017, section 3; Yu et al., ICCV 2017, section 3.
    """

    class_name = "LowRankBilinearPool"

    def __init__(
        self,
        channels: int | Sequence[int],
        dim: int = DIM,
        *,
        rank: int = 1,
        activation: Activation = None,
        seed: int | None = 0,
        rngs: nnx.Rngs | None = None,
        reduction: Reduction = "mean",
        eps: float = EPS,
        l2_eps: float = L2_EPS,
    ) -> None:
        self.set_arguments(locals())
        u, v = low_rank_projections(channels, dim, rank, self.seed)
        self.u, self.v = nnx.Param(jnp.asarray(u)), nnx.Param(jnp.asarray(v))

    def __call__(
        self, x: ArrayLike, y: ArrayLike | None = None, *, mask: ArrayLike | None = None
    ) -> jax.Array:
        x, y, mask = self.to_locations(x, y, mask, channels=self.channels)
        u, v, activation = self.u[...], self.v[...], self.activation
        h = low_rank_pool_unchecked(x, u, v, y, activation, self.rank, mask, self.reduction)
        return self.root_and_norm(h, x)
