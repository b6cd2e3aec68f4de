"""A learned projection of the channels of feature maps, to put in front of a pooling."""

from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx

from ....contract.layers import check_arguments, check_maps
from ...initial_values import projections
from .._arrays import ArrayLike, spec, wide
from ..low_rank_pool import activated, projected
from ..outer_pool import keep
from ._maps import flattened


class Projection(nnx.Module):
    """A 1×1 convolution without bias: every location's C channels to `dim`.

    It makes wide networks fit: bilinear pooling of 2048 channels would have 4 million features,
    of 128 projected ones 16 thousand.

    Args:
        channels: C.
        dim: channels of the result.
        activation: None, or ``"relu"``, whose slope at exactly 0 is 0.
        seed: of the initial weights, normal with deviation 1/√C, equal in every framework.

    Shapes: x (N, *spatial, C), mask (N, *spatial) boolean, True where kept -> (N, *spatial, dim),
        any number of spatial axes.
    Edges: a masked location enters nothing, NaN included; its result and its gradient are 0.
    Attributes: weight (dim, C), learned.
    Precision: the map decides; the weight is cast to the type that its products are summed in.
    Cost: time N·L·C·dim, memory N·L·dim.
    Raises: ValueError and TypeError as `bilinear.contract.low_rank.check_projection_layer` when
        made, as `check_operands` and `low_rank.check_maps` when called.
    """

    def __init__(
        self,
        channels: int,
        dim: int,
        *,
        activation: Literal["relu"] | None = None,
        seed: int = 0,
    ) -> None:
        check_arguments("Projection", locals())
        self.channels, self.dim, self.seed = channels, dim, seed
        self.activation: Literal["relu"] | None = activation
        (weight,) = projections([(channels, dim)], seed)
        self.weight = nnx.Param(jnp.asarray(weight.T))

    def __call__(self, x: ArrayLike, mask: ArrayLike | None = None) -> jax.Array:
        op = "Projection"
        of_x = spec(op, "x", x)
        flat, _, kept = flattened(op, x, None, mask)
        check_maps(op, [of_x], self.channels, channels_first=False)
        kept = None if kept is None else jnp.asarray(kept)
        p = projected(keep(wide(jnp.asarray(flat)), kept), self.weight[...].T)
        p = activated(p, self.activation).astype(of_x.dtype)
        return p.reshape(*x.shape[:-1], self.dim)
