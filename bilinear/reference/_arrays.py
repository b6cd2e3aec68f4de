"""What every reference operator does around its formula: describe, upcast, round."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..contract import ACCUMULATION, Spec

Array = NDArray[Any]


def spec(x: Array | None) -> Any:
    """Describe `x` for the contract; None stays None."""
    return None if x is None else Spec(x.shape, x.dtype.name)


def upcast(x: Array | None) -> Any:
    """Cast `x` to the accumulation dtype; None stays None."""
    return None if x is None else x.astype(ACCUMULATION[x.dtype.name])


def round_to(result: Array, x: Array) -> Array:
    """Cast `result` to the dtype of `x`, the only rounding of an operator."""
    with np.errstate(over="ignore"):  # a value beyond the range of half precision becomes inf
        return result.astype(x.dtype)
