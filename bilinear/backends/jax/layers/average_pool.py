"""`AveragePool`: the mean over all locations. No state."""

from dataclasses import dataclass

import jax

from .._arrays import ArrayLike, count_locations, round_to, select_locations
from ._layer import StaticPool


@jax.tree_util.register_static
@dataclass(frozen=True)
class AveragePool(StaticPool):
    """The mean of a feature map over all locations: the baseline for the other pools.

    There is no root and no normalization. A static value like `BilinearPool`.

    Shape: x (N, *spatial, C), mask (N, *spatial) boolean -> (N, C).
    Cost: time N·L·C.
    """

    class_name = "AveragePool"

    def __call__(self, x: ArrayLike, *, mask: ArrayLike | None = None) -> jax.Array:
        locations, _, mask = self.to_locations(x, None, mask)
        selected = select_locations(locations, mask)
        return round_to(x, selected.sum(1) / count_locations(selected, mask))
