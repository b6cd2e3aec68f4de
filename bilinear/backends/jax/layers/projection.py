"""`Projection`: a learned projection of the channels of feature maps, in front of a pool."""

from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx

from ....contract.layer_arguments import ProjectionArguments
from ...initial_values import projections
from .._arrays import ArrayLike, round_to, select_locations
from ..low_rank_pool import activate, project
from ._layer import FeatureMapLayer, Module


class Projection(ProjectionArguments, FeatureMapLayer, Module):
    """A 1×1 convolution without bias from C channels to `dim`; its weight (dim, C) is learned.

    Use it before bilinear pooling of wide networks: 2048 channels give a descriptor of 4 million
    values, 128 channels one of 16 thousand. The weight is first normal with deviation 1/√C.

    Args:
        channels: C.
        dim: channels of the result.
        activation: None (default) or ``"relu"``.
        seed: non-negative integer, for equal values in every framework; None is random. Default 0.
        rngs: if given, the seed is drawn from ``rngs.params()``. Default None.

    Shape: x (N, *spatial, C), mask (N, *spatial) boolean -> (N, *spatial, dim), 0 where the mask is
        False.
    Cost: time N·L·C·dim.
    """

    class_name = "Projection"

    def __init__(
        self,
        channels: int,
        dim: int,
        *,
        activation: Literal["relu"] | None = None,
        seed: int | None = 0,
        rngs: nnx.Rngs | None = None,
    ) -> None:
        self.set_arguments(locals())
        (weight,) = projections([(channels, dim)], self.seed)
        self.weight = nnx.Param(jnp.asarray(weight.T))

    def __call__(self, x: ArrayLike, *, mask: ArrayLike | None = None) -> jax.Array:
        locations, _, mask = self.to_locations(x, None, mask, channels=self.channels)
        p = project(select_locations(locations, mask), self.weight[...].T, x.dtype)
        return round_to(x, activate(p, self.activation)).reshape(*x.shape[:-1], self.dim)
