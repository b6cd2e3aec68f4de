"""What every reference operator does around its formula: describe, widen, cast back."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..contract import ACCUMULATION, Spec

Array = NDArray[Any]


def spec(x: Array | None) -> Any:
    """The contract's view of `x`; None stays None."""
    return None if x is None else Spec(x.shape, x.dtype.name)


def wide(x: Array | None) -> Any:
    """`x` in the dtype its sums, roots and norms are computed in; None stays None."""
    return None if x is None else x.astype(ACCUMULATION[x.dtype.name])


def like(result: Array, x: Array) -> Array:
    """`result` in the dtype of `x`: the one rounding back at the end of an operator."""
    with np.errstate(over="ignore"):  # beyond the half type's range becomes inf, by contract
        return result.astype(x.dtype)
