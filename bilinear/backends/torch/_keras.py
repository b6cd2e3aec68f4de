"""The PyTorch operators as the Keras layers call them."""

# ruff: noqa: F401 - the layers read these names from this module

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ._tensors import spec, upcast
from .bilinear_pool import bilinear_pool_unchecked
from .covariance_sqrt import covariance_sqrt_unchecked
from .democratic_weights import democratic_weights_unchecked
from .hadamard_pool import hadamard_pool_unchecked
from .half_vectorize import half_vectorize_unchecked
from .l2_normalize import l2_normalize_unchecked
from .low_rank_pool import activate, low_rank_pool_unchecked, project
from .low_rank_scores import low_rank_scores_unchecked
from .outer_max_pool import outer_max_pool_unchecked
from .outer_pool import divide_by_count, select_locations
from .random_maclaurin import random_maclaurin_unchecked
from .signed_sqrt import signed_sqrt_unchecked
from .tensor_sketch import tensor_sketch_unchecked


def convert_to_tensor(variable: Any) -> Tensor:
    """The value of a Keras variable, in the dtype that Keras asks for."""
    return variable.value


def sizes(x: Tensor) -> list[int]:
    return list(x.shape)


def ensure_sizes(
    op: str, maps: Sequence[Tensor], masks: Sequence[Tensor], channels_first: bool
) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    """All sizes are known when the layer checks them."""
    return maps, masks


def ensure_table_sizes(op: str, x: Tensor, y: Any, tables: Any) -> Tensor:
    """All sizes are known when the layer checks them."""
    return x


def average_pool_unchecked(x: Tensor, mask: Any) -> Tensor:
    """Mean over the valid locations."""
    total = select_locations(upcast(x), mask).sum(1)
    return divide_by_count(total, x.shape[1], mask, "mean").to(x.dtype)


def project_unchecked(x: Tensor, weight: Tensor, mask: Any, activation: Any = None) -> Tensor:
    """``σ(x weight)`` of every valid location, in the accumulation dtype."""
    selected = select_locations(upcast(x), mask)
    return activate(project(selected, weight, x.dtype, weight.dtype), activation)
