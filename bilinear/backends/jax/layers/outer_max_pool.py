"""`OuterMaxPool`: the largest products over all places, with root and norm. No state."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from ....contract import EPS, L2_EPS, check_root_and_norm
from ....contract.layers import check_arguments
from .._arrays import ArrayLike, spec
from ..l2_normalize import normalized
from ..outer_max_pool import largest
from ..signed_sqrt import rooted
from ._maps import flattened


@jax.tree_util.register_static
@dataclass(frozen=True)
class OuterMaxPool:
    """The largest products over all places of feature maps, as unit descriptors.

    ``l2_normalize(signed_sqrt(flatten(outer_max_pool(x, y))))``: `BilinearPool` with the maximum
    in place of the mean, and like it a frozen value without leaves.

    Shapes: x (N, *spatial, C), y (N, *spatial, D), mask (N, *spatial) boolean, True where
        kept, any number of spatial axes -> (N, C·D).
    Gradient, edges: those of `outer_max_pool`, `signed_sqrt` and `l2_normalize`.
    Cost: that of `outer_max_pool`; the descriptor is C·D.
    Raises: ValueError and TypeError as `bilinear.contract.aggregation.check_outer_max_layer` when
        made and `bilinear.contract.check_operands` when called.
    Source: Lin, RoyChowdhury, Maji, ICCV 2015, section 3.
    """

    eps: float = EPS
    l2_eps: float = L2_EPS

    def __post_init__(self) -> None:
        check_arguments("OuterMaxPool", vars(self))

    def __call__(
        self, x: ArrayLike, y: ArrayLike | None = None, mask: ArrayLike | None = None
    ) -> jax.Array:
        op = "OuterMaxPool"
        x, y, mask = flattened(op, x, y, mask)
        check_root_and_norm(op, spec(op, "x", x).dtype, self.eps, self.l2_eps)
        products = largest(x, y, mask)
        n, c, d = products.shape
        z = normalized(rooted(products.reshape(n, c * d), self.eps), self.l2_eps)
        return z.astype(jnp.asarray(x).dtype)

    def descriptor_size(self, channels: int, channels_b: int | None = None) -> int:
        """C·D, the length of the descriptor: C² for one stream."""
        return channels * (channels if channels_b is None else channels_b)
