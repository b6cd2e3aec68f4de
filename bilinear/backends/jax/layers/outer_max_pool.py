"""`OuterMaxPool`: the largest products over all locations, with root and norm. No state."""

from dataclasses import KW_ONLY, dataclass

import jax

from ....contract import EPS, L2_EPS
from .._arrays import ArrayLike, flatten_matrices
from ..outer_max_pool import outer_max_pool_unchecked
from ._layer import StaticPool


@jax.tree_util.register_static
@dataclass(frozen=True)
class OuterMaxPool(StaticPool):
    """`BilinearPool` with the maximum over locations instead of the mean:
    ``l2_normalize(signed_sqrt(flatten(outer_max_pool(x, y))))``.

    A static value like `BilinearPool`.

    Args:
        eps: added inside the signed square root, at least 0. Default 1e-10.
        l2_eps: positive; lower bound of the norm. Default 1e-12.

    Shape: x (N, *spatial, C), y (N, *spatial, D), mask (N, *spatial) boolean -> (N, C·D).
    Cost: that of `outer_max_pool`.
    References: Lin, RoyChowdhury, Maji, ICCV 2015, section 3.
    """

    class_name = "OuterMaxPool"
    _: KW_ONLY
    eps: float = EPS
    l2_eps: float = L2_EPS

    def __call__(
        self, x: ArrayLike, y: ArrayLike | None = None, *, mask: ArrayLike | None = None
    ) -> jax.Array:
        x, y, mask = self.to_locations(x, y, mask)
        return self.root_and_norm(flatten_matrices(outer_max_pool_unchecked(x, y, mask)), x)
