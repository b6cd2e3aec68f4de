"""`BilinearPool`: the operator as a layer on feature maps. No parameters, no state."""

from dataclasses import dataclass

import jax

from ....contract import EPS, L2_EPS, DescriptorOptions, Norm, Reduction, Root
from ....contract.layers import check_arguments
from ....contract.options import check_options
from ....contract.pooling import descriptor_size
from .._arrays import ArrayLike, specs
from ..bilinear_pool import described
from ._maps import flattened


@jax.tree_util.register_static
@dataclass(frozen=True)
class BilinearPool:
    """Bilinear pooling of feature maps: `bilinear_pool` over all their spatial places.

    A frozen value without leaves: it passes through every transform, as a constant or as an
    argument, and sits in a `flax.nnx.Module` or any other pytree as it is.

    Shapes: x (N, *spatial, C), y (N, *spatial, D), mask (N, *spatial) boolean, True where
        kept, any number of spatial axes -> (N, C·D), or (N, C(C+1)/2) if packed.
    Gradient, edges: those of `bilinear_pool`.
    Cost: that of `bilinear_pool`; the result is N·C·D numbers, N·C(C+1)/2 with `packed`.
    Raises: ValueError and TypeError as `bilinear.contract.check_layer` when made and
        `bilinear.contract.check_operands` when called: y must have the spatial shape of x, not
        merely as many places.
    Source: Lin, RoyChowdhury, Maji, ICCV 2015, section 3.
    """

    reduction: Reduction = "mean"
    eps: float = EPS
    l2_eps: float = L2_EPS
    packed: bool = False
    root: Root = "signed"
    slope_eps: float | None = None
    norm: Norm = "floor"

    def __post_init__(self) -> None:
        check_arguments("BilinearPool", vars(self))

    def __call__(
        self, x: ArrayLike, y: ArrayLike | None = None, mask: ArrayLike | None = None
    ) -> jax.Array:
        op = "BilinearPool"
        x, y, mask = flattened(op, x, y, mask)
        of_x, of_y, _ = specs(op, x, y, None)
        options = self._options()
        check_options(op, options, of_x.dtype, of_y)
        return described(x, y, mask, options)

    def descriptor_size(self, channels: int, channels_b: int | None = None) -> int:
        """C·D, the length of the descriptor: C² for one stream, C(C+1)/2 for half of it."""
        return descriptor_size("BilinearPool", self.packed, channels, channels_b)

    def _options(self) -> DescriptorOptions:
        return DescriptorOptions(**vars(self))
