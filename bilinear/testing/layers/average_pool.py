"""`AveragePool`: `outer_pool` of a feature map and a constant 1."""

from typing import Any

import numpy as np

from ... import reference
from .. import bounds
from ..bounds import Bounded
from ..cases import Case, Maps, layer_calls, to_locations
from ..ops import outer_pool


def calls(dtype: str) -> dict[str, tuple[Maps, dict[str, Any]]]:
    return layer_calls(dtype, (1,))


def case(maps: Maps, parameters: dict[str, Any], mask: np.ndarray | None) -> Case:
    return to_locations(maps, mask, parameters)


def value(case: Case) -> np.ndarray:
    both = _with_ones(case)
    return reference.outer_pool(*both.double(), **both.options)[:, :, 0]


def gradients(case: Case, cotangent: np.ndarray) -> tuple[np.ndarray, ...]:
    both = _with_ones(case)
    return reference.outer_pool_vjp(cotangent[:, :, None], *both.double(), **both.options)[:1]


def forward(case: Case, acc: str) -> Bounded:
    return Bounded(*(part[:, :, 0] for part in outer_pool.forward(_with_ones(case), acc)))


def vjp(case: Case, cotangent: np.ndarray, acc: str) -> list[Bounded]:
    ct = bounds.exact(cotangent.astype(np.longdouble)[:, :, None])
    return outer_pool.vjp_inexact(_with_ones(case), ct, acc)[:1]


def _with_ones(case: Case) -> Case:
    (x,) = case.arrays
    return Case((x, np.ones((*x.shape[:2], 1), x.dtype)), case.options)


__all__ = ["calls", "case", "forward", "gradients", "value", "vjp"]
