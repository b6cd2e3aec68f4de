"""The functions of JAX as the networks of Keras call them. Maps are (N, h, w, C)."""

# ruff: noqa: F401 - the networks read these names from this module

import math

import jax

from ...contract import check_batch_norm
from .feature_maps import check_dtype, convolve, max_pool, resample


def count_values(values: jax.Array) -> tuple[jax.Array, int]:
    """Return the values and their number."""
    check_batch_norm(values.shape, 3)
    return values, math.prod(values.shape[:3])
