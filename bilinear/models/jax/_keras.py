"""The functions of JAX as the networks of Keras call them. Maps are (N, h, w, C)."""

# ruff: noqa: F401 - the networks read these names from this module

from ..plan_layers import batch_mean, count_values
from .feature_maps import check_dtype, convolve, max_pool, resample
