"""`BilinearPool`: the operator as a layer on feature maps. No parameters, no state."""

import math
from dataclasses import dataclass

import jax

from ...contract import (
    EPS,
    L2_EPS,
    Reduction,
    check_eps,
    check_floor,
    check_layer,
    check_operands,
)
from ._arrays import ArrayLike, specs
from .bilinear_pool import described


@jax.tree_util.register_static
@dataclass(frozen=True)
class BilinearPool:
    """Bilinear pooling of feature maps: `bilinear_pool` over all their spatial places.

    A frozen value without leaves: it passes through every transform, as a constant or as an
    argument, and sits in a `flax.nnx.Module` or any other pytree as it is.

    Shapes: x (N, *spatial, C), y (N, *spatial, D), mask (N, *spatial) boolean, True where
        kept, any number of spatial axes -> (N, C·D).
    Gradient, edges: those of `bilinear_pool`.
    Raises: ValueError and TypeError as `bilinear.contract.check_layer` when made and
        `bilinear.contract.check_operands` when called: y must have the spatial shape of x, not
        merely as many places.
    Source: Lin, RoyChowdhury, Maji, ICCV 2015, section 3.
    """

    reduction: Reduction = "mean"
    eps: float = EPS
    l2_eps: float = L2_EPS

    def __post_init__(self) -> None:
        check_layer("BilinearPool", self.reduction, self.eps, self.l2_eps)

    def __call__(
        self, x: ArrayLike, y: ArrayLike | None = None, mask: ArrayLike | None = None
    ) -> jax.Array:
        op = "BilinearPool"
        of_x, of_y, of_mask = specs(op, x, y, mask)
        check_operands(op, of_x, of_y, of_mask)
        check_eps(op, self.eps, of_x.dtype)
        check_floor(op, self.l2_eps, of_x.dtype, name="l2_eps")
        places = x.shape[0], math.prod(x.shape[1:-1])  # (N, L), L = 1 for x (N, C)
        return described(
            x.reshape(*places, x.shape[-1]),
            None if y is None else y.reshape(*places, y.shape[-1]),
            None if mask is None else mask.reshape(places),
            self.reduction,
            self.eps,
            self.l2_eps,
        )

    def descriptor_size(self, channels: int, channels_b: int | None = None) -> int:
        """C·D, the length of the descriptor: C² for one stream."""
        return channels * (channels if channels_b is None else channels_b)
