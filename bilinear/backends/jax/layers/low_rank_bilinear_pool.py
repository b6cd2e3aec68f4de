"""`LowRankBilinearPool`: `low_rank_pool`, root and norm with learned projections."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx

from ....contract import EPS, L2_EPS, Reduction, check_root_and_norm
from ....contract.layers import DIM, check_arguments, check_channels
from ....contract.low_rank import Activation
from ...initial_values import low_rank_projections
from .._arrays import ArrayLike, round_to
from ..l2_normalize import l2_normalize_unchecked
from ..low_rank_pool import low_rank_pool_unchecked
from ..signed_sqrt import signed_sqrt_unchecked
from ._feature_maps import to_locations
from ._modules import Module, draw_seed


class LowRankBilinearPool(Module):
    """Low-rank bilinear pooling: ``l2_normalize(signed_sqrt(low_rank_pool(x, u, v, y)))``.

    u (C, dim · rank) and v (D, dim · rank) are learned. Without activation, ``rank=1`` is the
    pooling of MLB (Kim et al.), and a larger rank is that of MFB (Yu et al.).

    Args:
        channels: C for one stream, [C, D] for two.
        dim: length of the descriptor.
        rank: number of products that are summed for each entry.
        activation: of the projections, None, ``"tanh"``, ``"relu"`` or ``"sigmoid"``.
        seed: non-negative integer; the same seed gives the same projections, normal with deviation
            1/√C, in every framework. None draws different ones each time.
        rngs: if given, the seed is drawn from ``rngs.params()``.
        reduction: ``"mean"`` divides by the number of pooled locations, ``"sum"`` does not.
        eps: added inside the signed square root, at least 0.
        l2_eps: positive; lower bound of the norm.

    Shape: x (N, *spatial, C), y (N, *spatial, D), mask (N, *spatial) boolean -> (N, dim). Only
        locations where the mask is True are pooled.
    Cost: that of `low_rank_pool` with R = dim · rank; the weights have (C + D)·R values.
    References: Kim et al., ICLR 2017, section 3; Yu et al., ICCV 2017, section 3.
    """

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
        op = "LowRankBilinearPool"
        seed = draw_seed(op, seed, rngs)
        normal = check_arguments(op, locals())["channels"]
        self.channels = tuple(normal) if isinstance(normal, list) else normal
        self.dim, self.rank, self.seed = dim, rank, seed
        self.activation: Activation = activation
        self.reduction: Reduction = reduction
        self.eps, self.l2_eps = eps, l2_eps
        u, v = low_rank_projections(channels, dim, rank, seed)
        self.u, self.v = nnx.Param(jnp.asarray(u)), nnx.Param(jnp.asarray(v))

    def __call__(
        self, x: ArrayLike, y: ArrayLike | None = None, *, mask: ArrayLike | None = None
    ) -> jax.Array:
        op = "LowRankBilinearPool"
        x, y, mask, (of_x, _) = to_locations(op, x, y, mask)
        check_channels(op, self.channels, *(m.shape[2] for m in (x, y) if m is not None))
        check_root_and_norm(op, of_x.dtype, self.eps, self.l2_eps)
        u, v, activation = self.u[...], self.v[...], self.activation
        h = low_rank_pool_unchecked(x, u, v, y, activation, self.rank, mask, self.reduction)
        return round_to(x, l2_normalize_unchecked(signed_sqrt_unchecked(h, self.eps), self.l2_eps))

    def descriptor_size(self, channels: int, channels_b: int | None = None) -> int:
        """`dim` for any channels."""
        return self.dim
