"""`HierarchicalBilinearPool`: `hadamard_pool` of learned projections as a Flax module."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx

from ....contract import EPS, L2_EPS, Reduction, check_root_and_norm
from ....contract.layers import DIM, check_arguments, check_maps
from ...initial_values import projections
from .._arrays import ArrayLike, round_to, select_locations, spec
from ..hadamard_pool import hadamard_pool_unchecked
from ..l2_normalize import l2_normalize_unchecked
from ..low_rank_pool import project
from ..signed_sqrt import signed_sqrt_unchecked
from ._feature_maps import to_locations
from ._modules import Module, draw_seed


class HierarchicalBilinearPool(Module):
    """Bilinear pooling across layers: products of every pair of projected feature maps.

    ``signed_sqrt(hadamard_pool(x1 u1, x2 u2, …))``, where each pair is normalized separately.
    The projections u1 (C₁, dim), u2 (C₂, dim), … are learned.

    Args:
        channels: list of the channels Cᵢ of each feature map, two or more.
        dim: number of channels after the projections.
        seed: non-negative integer; the same seed gives the same projections, normal with deviation
            1/√Cᵢ, in every framework. None draws different ones each time.
        rngs: if given, the seed is drawn from ``rngs.params()``.
        reduction: ``"mean"`` divides by the number of pooled locations, ``"sum"`` does not.
        eps: added inside the signed square root, at least 0.
        l2_eps: positive; lower bound of the norm.

    Shape: feature maps (N, *spatial, Cᵢ) of equal spatial shape, mask (N, *spatial) boolean
        -> (N, pairs · dim), in the order of `hadamard_pool`. Only locations where the mask is True
        are pooled.
    Cost: time N·L·dim·(Σ Cᵢ + pairs), memory N·L·dim for each feature map.
    References: Yu et al., "Hierarchical Bilinear Pooling for Fine-Grained Visual Recognition", ECCV
        2018, section 3; one norm for each pair as in ChaojianYu/Hierarchical-Bilinear-Pooling.
    """

    def __init__(
        self,
        channels: Sequence[int],
        dim: int = DIM,
        *,
        seed: int | None = 0,
        rngs: nnx.Rngs | None = None,
        reduction: Reduction = "mean",
        eps: float = EPS,
        l2_eps: float = L2_EPS,
    ) -> None:
        op = "HierarchicalBilinearPool"
        seed = draw_seed(op, seed, rngs)
        self.channels = tuple(check_arguments(op, locals())["channels"])
        self.dim, self.seed = dim, seed
        self.reduction: Reduction = reduction
        self.eps, self.l2_eps = eps, l2_eps
        drawn = projections([(c, dim) for c in self.channels], seed)
        for i, weight in enumerate(drawn, start=1):
            setattr(self, f"u{i}", nnx.Param(jnp.asarray(weight)))

    def __call__(self, x: ArrayLike, *more: ArrayLike, mask: ArrayLike | None = None) -> jax.Array:
        op = "HierarchicalBilinearPool"
        received = [spec(op, f"x{i}", m) for i, m in enumerate((x, *more), start=1)]
        check_maps(op, received, self.channels, channels_first=False)
        flat, flat_mask = [], None
        for other in more:
            first, second, flat_mask, _ = to_locations(op, x, other, mask)
            flat = [*(flat or [first]), second]
        check_root_and_norm(op, received[0].dtype, self.eps, self.l2_eps)
        streams = [
            project(select_locations(stream, flat_mask), getattr(self, f"u{i}")[...])
            for i, stream in enumerate(flat, start=1)
        ]
        h = hadamard_pool_unchecked(streams, 1, flat_mask, self.reduction)
        s = signed_sqrt_unchecked(h.reshape(-1, self._pairs, self.dim), self.eps)
        z = l2_normalize_unchecked(s, self.l2_eps)
        return round_to(x, z.reshape(-1, self.descriptor_size()))

    def descriptor_size(self, *channels: int) -> int:
        """`dim` for every pair of feature maps."""
        return self._pairs * self.dim

    @property
    def _pairs(self) -> int:
        return math.comb(len(self.channels), 2)
