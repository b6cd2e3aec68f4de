"""`OuterMaxPool`: the largest products over all locations, with root and norm. No state."""

from dataclasses import KW_ONLY, dataclass

import jax

from ....contract import EPS, L2_EPS, check_root_and_norm
from ....contract.layers import check_arguments
from .._arrays import ArrayLike, flatten_matrices, round_to
from ..l2_normalize import l2_normalize_unchecked
from ..outer_max_pool import outer_max_pool_unchecked
from ..signed_sqrt import signed_sqrt_unchecked
from ._feature_maps import to_locations


@jax.tree_util.register_static
@dataclass(frozen=True)
class OuterMaxPool:
    """`BilinearPool` with the maximum over locations instead of the mean:
    ``l2_normalize(signed_sqrt(flatten(outer_max_pool(x, y))))``.

    A static value like `BilinearPool`.

    Args:
        eps: added inside the signed square root, at least 0.
        l2_eps: positive; lower bound of the norm.

    Shape: x (N, *spatial, C), y (N, *spatial, D), mask (N, *spatial) boolean -> (N, C·D). Only
        locations where the mask is True are compared.
    Cost: that of `outer_max_pool`.
    References: Lin, RoyChowdhury, Maji, ICCV 2015, section 3.
    """

    _: KW_ONLY
    eps: float = EPS
    l2_eps: float = L2_EPS

    def __post_init__(self) -> None:
        check_arguments("OuterMaxPool", vars(self))

    def __call__(
        self, x: ArrayLike, y: ArrayLike | None = None, *, mask: ArrayLike | None = None
    ) -> jax.Array:
        op = "OuterMaxPool"
        x, y, mask, (of_x, _) = to_locations(op, x, y, mask)
        check_root_and_norm(op, of_x.dtype, self.eps, self.l2_eps)
        products = flatten_matrices(outer_max_pool_unchecked(x, y, mask))
        z = l2_normalize_unchecked(signed_sqrt_unchecked(products, self.eps), self.l2_eps)
        return round_to(x, z)

    def descriptor_size(self, channels: int, channels_b: int | None = None) -> int:
        """C·D, C² for one stream."""
        return channels * (channels if channels_b is None else channels_b)
