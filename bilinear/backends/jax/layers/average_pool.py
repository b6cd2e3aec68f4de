"""`AveragePool`: the mean over all locations. No state."""

from dataclasses import dataclass

import jax

from ....contract.pooling import check_one_stream
from .._arrays import ArrayLike, count_locations, round_to, select_locations
from ._feature_maps import to_locations


@jax.tree_util.register_static
@dataclass(frozen=True)
class AveragePool:
    """The mean of a feature map over all locations: the baseline for the other pools.

    There is no root and no normalisation. A static value like `BilinearPool`.

    Shape: x (N, *spatial, C), mask (N, *spatial) boolean -> (N, C). Only locations where the mask
        is True are pooled.
    Cost: time N·L·C.
    """

    def __call__(self, x: ArrayLike, *, mask: ArrayLike | None = None) -> jax.Array:
        flat, _, mask, _ = to_locations("AveragePool", x, None, mask)
        selected = select_locations(flat, mask)
        return round_to(x, selected.sum(1) / count_locations(selected, mask))

    def descriptor_size(self, channels: int, channels_b: int | None = None) -> int:
        """C; ValueError for two streams."""
        check_one_stream("AveragePool", channels, channels_b)
        return channels
