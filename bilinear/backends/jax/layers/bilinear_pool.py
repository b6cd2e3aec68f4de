"""`BilinearPool`: the operator as a layer on feature maps. No state."""

from dataclasses import KW_ONLY, dataclass

import jax

from ....contract import EPS, L2_EPS, DescriptorOptions, Norm, Reduction, Root
from .._arrays import ArrayLike
from ..bilinear_pool import bilinear_pool_unchecked
from ._layer import StaticPool


@jax.tree_util.register_static
@dataclass(frozen=True)
class BilinearPool(StaticPool):
    """Bilinear pooling of feature maps: `bilinear_pool` over all their locations.

    A static value without leaves: it passes through every transform, as a constant or as an
    argument, and can be an attribute of a `flax.nnx.Module` or part of any other pytree.

    Args:
        reduction: ``"mean"`` (default) over the valid locations, or ``"sum"``.
        eps: added inside the signed square root, at least 0. Default 1e-10.
        l2_eps: positive; lower bound of the norm. Default 1e-12.
        packed: return the upper triangle of the matrix, for one stream. Default False.
        root: ``"signed"`` (default), ``"shifted"`` or ``"unsigned"``, as in `signed_sqrt`.
        slope_eps: None (default), or positive for the published slope of `signed_sqrt`.
        norm: ``"floor"`` (default) or ``"added"``, as in `l2_normalize`.

    Shape: x (N, *spatial, C), y (N, *spatial, D), mask (N, *spatial) boolean
        -> (N, C·D), or (N, C(C+1)/2) if packed.
    Cost: that of `bilinear_pool`.
    """

    class_name = "BilinearPool"
    reduction: Reduction = "mean"
    _: KW_ONLY
    eps: float = EPS
    l2_eps: float = L2_EPS
    packed: bool = False
    root: Root = "signed"
    slope_eps: float | None = None
    norm: Norm = "floor"

    def __call__(
        self, x: ArrayLike, y: ArrayLike | None = None, *, mask: ArrayLike | None = None
    ) -> jax.Array:
        options = DescriptorOptions(**vars(self))
        x, y, mask = self.to_locations(x, y, mask, options=options)
        return bilinear_pool_unchecked(x, y, mask, options)
