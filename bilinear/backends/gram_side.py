"""Which side of the features the root of their covariance is computed on."""

from typing import Any


def use_gram_matrix(locations: Any, channels: Any, method: str, steps: int) -> bool:
    """Whether the L × L Gram matrix takes fewer multiplications than the C × C covariance.

    Newton–Schulz takes ``3·steps − 3`` products of square matrices, and the Gram matrix two more
    products of L·L·C. The exact root uses the Gram matrix if L < C: with the covariance, its higher
    derivatives are not exact at this rank. It takes longer only if L is near C.
    If a size is unknown (a symbolic size while a program is exported), the covariance is used.
    """
    if not (isinstance(locations, int) and isinstance(channels, int)):
        return False
    if method == "eigen":
        return locations < channels
    products = max(3 * steps - 3, 1)
    return products * locations**3 + 2 * locations**2 * channels < products * channels**3
