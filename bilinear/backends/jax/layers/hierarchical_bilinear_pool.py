"""`HierarchicalBilinearPool`: `hadamard_pool` of learned projections as a Flax module."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx

from ....contract import EPS, L2_EPS, Reduction
from ....contract.layer_arguments import DIM, HierarchicalBilinearPoolArguments
from ....contract.layers import check_maps
from ...initial_values import projections
from .._arrays import ArrayLike, select_locations, spec
from ..hadamard_pool import hadamard_pool_unchecked
from ..low_rank_pool import project
from ._layer import Module, Pool


class HierarchicalBilinearPool(HierarchicalBilinearPoolArguments, Pool, Module):
    """Bilinear pooling across layers: products of every pair of projected feature maps.

    ``signed_sqrt(hadamard_pool(x1 u1, x2 u2, …))``, where each pair is normalized separately.
    The projections u1 (C₁, dim), … are learned, initially normal with deviation 1/√Cᵢ.

    Args:
        channels: list of the channels Cᵢ of each feature map, two or more.
        dim: number of channels after the projections, default 8192.
        seed: non-negative integer, for equal values in every framework; None is random. Default 0.
        rngs: if given, the seed is drawn from ``rngs.params()``. Default None.
        reduction: ``"mean"`` (default) over the valid locations, or ``"sum"``.
        eps: added inside the signed square root, at least 0. Default 1e-10.
        l2_eps: positive; lower bound of the norm. Default 1e-12.

    Shape: feature maps (N, *spatial, Cᵢ) of equal spatial shape, mask (N, *spatial) boolean
        -> (N, pairs · dim), in the order of `hadamard_pool`.
    Cost: time N·L·dim·(Σ Cᵢ + pairs), memory N·L·dim for each feature map.
    References: Yu et al., "Hierarchical Bilinear Pooling for Fine-Grained Visual Recognition", ECCV
        2018, section 3; one norm for each pair as in ChaojianYu/Hierarchical-Bilinear-Pooling.
    """

    class_name = "HierarchicalBilinearPool"

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
        self.set_arguments(locals())
        drawn = projections([(c, self.dim) for c in self.channels], self.seed)
        for i, weight in enumerate(drawn, start=1):
            setattr(self, f"u{i}", nnx.Param(jnp.asarray(weight)))

    def __call__(self, x: ArrayLike, *more: ArrayLike, mask: ArrayLike | None = None) -> jax.Array:
        op = self.class_name
        received = [spec(op, f"x{i}", m) for i, m in enumerate((x, *more), start=1)]
        check_maps(op, received, self.channels, channels_first=False)
        first, others, valid = x, [], None
        for other in more:
            first, second, valid = self.to_locations(x, other, mask)
            others.append(second)
        streams = [
            project(select_locations(stream, valid), getattr(self, f"u{i}")[...], stream.dtype)
            for i, stream in enumerate((first, *others), start=1)
        ]
        h = hadamard_pool_unchecked(streams, 1, valid, self.reduction)
        z = self.root_and_norm(h.reshape(h.shape[0], -1, self.dim), x)
        return z.reshape(h.shape)

    def descriptor_size(self, *channels: int) -> int:
        """`dim` for every pair of feature maps."""
        return math.comb(len(self.channels), 2) * self.dim
