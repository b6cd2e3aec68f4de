"""The JAX operators as the Keras layers call them."""

# ruff: noqa: F401 - the layers read these names from this module

from collections.abc import Sequence
from typing import Any

import jax

from ._arrays import count_locations, round_to, select_locations, spec, upcast
from .bilinear_pool import bilinear_pool_unchecked
from .covariance_sqrt import covariance_sqrt_unchecked
from .democratic_weights import democratic_weights_unchecked
from .hadamard_pool import hadamard_pool_unchecked
from .half_vectorize import half_vectorize_unchecked
from .l2_normalize import l2_normalize_unchecked
from .low_rank_pool import activate, low_rank_pool_unchecked, project
from .low_rank_scores import low_rank_scores_unchecked
from .outer_max_pool import outer_max_pool_unchecked
from .random_maclaurin import random_maclaurin_unchecked
from .signed_sqrt import signed_sqrt_unchecked
from .tensor_sketch import tensor_sketch_unchecked


def convert_to_tensor(variable: Any) -> jax.Array:
    """The value of a Keras variable, in the dtype that Keras asks for."""
    return variable.value


def sizes(x: jax.Array) -> list[Any]:
    return list(x.shape)


def ensure_sizes(
    op: str, maps: Sequence[jax.Array], masks: Sequence[jax.Array], channels_first: bool
) -> tuple[Sequence[jax.Array], Sequence[jax.Array]]:
    """All sizes are known when the layer checks them."""
    return maps, masks


def ensure_table_sizes(op: str, x: jax.Array, y: Any, tables: Any) -> jax.Array:
    """All sizes are known when the layer checks them."""
    return x


def average_pool_unchecked(x: jax.Array, mask: Any) -> jax.Array:
    """Mean over the valid locations."""
    selected = select_locations(x, mask)
    return round_to(x, selected.sum(1) / count_locations(selected, mask))


def project_unchecked(
    x: jax.Array, weight: jax.Array, mask: Any, activation: Any = None
) -> jax.Array:
    """``σ(x weight)`` of every valid location, in the accumulation dtype."""
    return activate(project(select_locations(x, mask), weight, x.dtype), activation)
