"""Feature maps as location features."""

import math

from ....contract import Spec, check_operands
from .._arrays import ArrayLike, specs


def to_locations(
    op: str, x: ArrayLike, y: ArrayLike | None = None, mask: ArrayLike | None = None
) -> tuple[ArrayLike, ArrayLike | None, ArrayLike | None, tuple[Spec, Spec | None]]:
    """Check feature maps (N, *spatial, C) and masks (N, *spatial); give (N, L, C) and (N, L).

    The last item has the shapes and dtypes of the feature maps x and y.
    """
    of_x, of_y, of_mask = specs(op, x, y, mask)
    check_operands(op, of_x, of_y, of_mask)
    locations = x.shape[0], math.prod(x.shape[1:-1])  # (N, L), L = 1 for x (N, C)
    return (
        x.reshape(*locations, x.shape[-1]),
        None if y is None else y.reshape(*locations, y.shape[-1]),
        None if mask is None else mask.reshape(locations),
        (of_x, of_y),
    )
