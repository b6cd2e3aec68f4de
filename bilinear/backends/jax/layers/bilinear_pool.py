"""`BilinearPool`: the operator as a layer on feature maps. No state."""

from dataclasses import KW_ONLY, dataclass

import jax

from ....contract import EPS, L2_EPS, DescriptorOptions, Norm, Reduction, Root
from ....contract.layers import check_arguments
from ....contract.options import check_options
from ....contract.pooling import descriptor_size
from .._arrays import ArrayLike
from ..bilinear_pool import bilinear_pool_unchecked
from ._feature_maps import to_locations


@jax.tree_util.register_static
@dataclass(frozen=True)
class BilinearPool:
    """Bilinear pooling of feature maps: `bilinear_pool` over all their locations.

    A static value without leaves: it passes through every transform, as a constant or as an
    argument, and can be an attribute of a `flax.nnx.Module` or part of any other pytree.

    Args:
        reduction: ``"mean"`` divides by the number of pooled locations, ``"sum"`` does not.
        eps: added inside the signed square root, at least 0.
        l2_eps: positive; lower bound of the norm.
        packed: return the upper triangle of the matrix, for one stream.
        root: ``"signed"``, ``"shifted"`` or ``"unsigned"``, as in `signed_sqrt`.
        slope_eps: None, or positive for the published slope of `signed_sqrt`.
        norm: ``"floor"`` or ``"added"``, as in `l2_normalize`.

    Shape: x (N, *spatial, C), y (N, *spatial, D), mask (N, *spatial) boolean
        -> (N, C·D), or (N, C(C+1)/2) if packed. Only locations where the mask is True are pooled.
    Cost: that of `bilinear_pool`.
    """

    reduction: Reduction = "mean"
    _: KW_ONLY
    eps: float = EPS
    l2_eps: float = L2_EPS
    packed: bool = False
    root: Root = "signed"
    slope_eps: float | None = None
    norm: Norm = "floor"

    def __post_init__(self) -> None:
        check_arguments("BilinearPool", vars(self))

    def __call__(
        self, x: ArrayLike, y: ArrayLike | None = None, *, mask: ArrayLike | None = None
    ) -> jax.Array:
        op, options = "BilinearPool", DescriptorOptions(**vars(self))
        x, y, mask, (of_x, of_y) = to_locations(op, x, y, mask)
        check_options(op, options, of_x.dtype, of_y)
        return bilinear_pool_unchecked(x, y, mask, options)

    def descriptor_size(self, channels: int, channels_b: int | None = None) -> int:
        """C·D, C² for one stream, C(C+1)/2 if packed."""
        return descriptor_size("BilinearPool", self.packed, channels, channels_b)
