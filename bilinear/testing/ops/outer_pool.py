"""`outer_pool`: random cases, singular points, error bounds."""

import numpy as np

from ..bounds import Bounded, divisor, products, select_locations, sum_if_one_stream
from ..cases import DTYPES, Case, pooling_cases, pooling_edges, pooling_smooth

cases = pooling_cases
smooth = pooling_smooth


def edges(dtype: str) -> dict[str, Case]:
    large = np.full((1, 4, 2), 200.0, DTYPES[dtype])
    beyond = {"beyond the range of float16": Case((large,), {"reduction": "sum"})}
    return pooling_edges(dtype) | beyond


def forward(case: Case, acc: str) -> Bounded:
    """Sums of L products, then one division (or a reciprocal and a product: 2 roundings)."""
    x, y, z = unpack(case)
    magnitude = np.einsum("nlc,nld->ncd", np.abs(x), np.abs(y)) / z
    value = np.einsum("nlc,nld->ncd", x, y) / z
    return Bounded(value, products(x.shape[1] + 3, acc) * magnitude)


def vjp(case: Case, g: Bounded, acc: str) -> list[Bounded]:
    """``Γ y / Z`` and ``Γᵀ x / Z``: sums of products with an inexact Γ, then a division.

    With one stream, the sum of both has one more rounding.
    """
    x, y, z = unpack(case)

    def gradient(rule: str, other: np.ndarray) -> Bounded:
        value = np.einsum(rule, g.value, other) / z
        magnitude = np.einsum(rule, np.abs(g.value) + g.error, np.abs(other)) / z
        carried = np.einsum(rule, g.error, np.abs(other)) / z
        return Bounded(value, carried + products(2 * other.shape[2] + 4, acc) * magnitude)

    gradients = gradient("ncd,nld->nlc", y), gradient("ncd,nlc->nld", x)
    selected = [select_locations(one, case.options["mask"]) for one in gradients]
    return sum_if_one_stream(case.arrays, *selected)


def unpack(case: Case) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return x and y with 0 at masked locations, and Z as (N, 1, 1)."""
    keep = case.options["mask"]
    x, y = (select_locations(case.upcast()[i], keep) for i in (0, -1))
    return x, y, divisor(x, keep, case.options.get("reduction", "mean"))[..., None]
