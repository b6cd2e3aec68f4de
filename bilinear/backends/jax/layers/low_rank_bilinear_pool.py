"""`low_rank_pool`, root and norm as a Flax NNX module with learned projections."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx

from ....contract import EPS, L2_EPS, Reduction, check_root_and_norm
from ....contract.arguments import plain_channels
from ....contract.layers import DIM, check_arguments, check_maps
from ....contract.low_rank import Activation
from ...initial_values import low_rank_projections
from .._arrays import ArrayLike, spec
from ..l2_normalize import normalized
from ..low_rank_pool import factored
from ..signed_sqrt import rooted
from ._maps import flattened


class LowRankBilinearPool(nnx.Module):
    """Low-rank bilinear pooling of feature maps, with learned u and v.

    ``l2_normalize(signed_sqrt(low_rank_pool(x, u, v, y)))`` of their locations: each of the `dim`
    entries of the descriptor is a bilinear form of rank at most `rank`. Without activation and
    ``rank=1`` this is the pooling of MLB, with more that of MFB.

    Args:
        channels: C for one stream, or [C, D] for two.
        dim: length of the descriptor.
        rank: products summed in each entry.
        activation: of the projections, None, ``"tanh"``, ``"relu"`` or ``"sigmoid"``.
        seed: of the initial weights, normal with deviation 1/√C, equal in every framework.

    Shapes: x (N, *spatial, C), y (N, *spatial, D), mask (N, *spatial) -> (N, dim).
    Attributes: u (C, dim · rank), v (D, dim · rank), learned.
    Precision: the maps decide; weights are cast to the type that theirs is accumulated in.
    Cost: as `low_rank_pool`, with R = dim · rank; the weights are (C + D) · R.
    Raises: ValueError and TypeError as `bilinear.contract.low_rank.check_low_rank_layer` when made,
        as `check_operands` and `low_rank.check_maps` when called.
    Source: Kim et al., ICLR 2017, section 3; Yu et al., ICCV 2017, section 3.
    """

    def __init__(
        self,
        channels: int | Sequence[int],
        dim: int = DIM,
        *,
        rank: int = 1,
        activation: Activation = None,
        seed: int = 0,
        reduction: Reduction = "mean",
        eps: float = EPS,
        l2_eps: float = L2_EPS,
    ) -> None:
        check_arguments("LowRankBilinearPool", locals())
        listed = plain_channels(channels)
        self.channels = tuple(listed) if isinstance(listed, list) else listed
        self.dim, self.rank, self.seed = dim, rank, seed
        self.activation: Activation = activation
        self.reduction: Reduction = reduction
        self.eps, self.l2_eps = eps, l2_eps
        u, v = low_rank_projections(channels, dim, rank, seed)
        self.u, self.v = nnx.Param(jnp.asarray(u)), nnx.Param(jnp.asarray(v))

    def __call__(
        self, x: ArrayLike, y: ArrayLike | None = None, mask: ArrayLike | None = None
    ) -> jax.Array:
        op = "LowRankBilinearPool"
        maps = [spec(op, name, m) for name, m in (("x", x), ("y", y)) if m is not None]
        check_maps(op, maps, self.channels, channels_first=False)
        x, y, mask = flattened(op, x, y, mask)
        check_root_and_norm(op, maps[0].dtype, self.eps, self.l2_eps)
        u, v = self.u[...], self.v[...]
        h = factored(x, u, v, y, self.activation, self.rank, mask, self.reduction)
        return normalized(rooted(h, self.eps), self.l2_eps).astype(maps[0].dtype)

    def descriptor_size(self, channels: int, channels_b: int | None = None) -> int:
        """`dim`, whatever the channels."""
        del channels, channels_b
        return self.dim
