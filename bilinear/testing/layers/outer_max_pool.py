"""`OuterMaxPool`: `outer_max_pool` on the locations of feature maps, root and norm."""

from typing import Any

import numpy as np

from ... import reference
from ...contract import EPS, L2_EPS
from .. import bounds
from ..bounds import Bounded
from ..cases import Case, Maps, layer_calls, to_locations
from ..ops import outer_max_pool


def calls(dtype: str) -> dict[str, tuple[Maps, dict[str, Any]]]:
    """Fewer calls than `BilinearPool` has, because each shape compiles a loop."""
    seen = ("one stream", "two streams", "two streams, masked", "empty batch", "0 ", "3 ")
    given = {k: v for k, v in layer_calls(dtype).items() if k.startswith(seen)}
    given["two streams"][1]["parameters"] = {"eps": 1e-3, "l2_eps": 1e-6}
    return given


def case(maps: Maps, parameters: dict[str, Any], mask: np.ndarray | None) -> Case:
    return to_locations(maps, mask, {"eps": EPS, "l2_eps": L2_EPS} | parameters)


def value(case: Case) -> np.ndarray:
    roots = reference.signed_sqrt(_flat(_largest(case)), eps=case.options["eps"])
    return reference.l2_normalize(roots, eps=case.options["l2_eps"])


def gradients(case: Case, cotangent: np.ndarray) -> tuple[np.ndarray, ...]:
    largest, eps = _largest(case), case.options["eps"]
    roots = reference.signed_sqrt(_flat(largest), eps=eps)
    (ct,) = reference.l2_normalize_vjp(cotangent, roots, eps=case.options["l2_eps"])
    (ct,) = reference.signed_sqrt_vjp(ct, _flat(largest), eps=eps)
    ct = ct.reshape(largest.shape)
    return reference.outer_max_pool_vjp(ct, *case.double(), **_masked(case))


def forward(case: Case, acc: str) -> Bounded:
    return bounds.l2_normalize(_steps(case, acc)[1], case.options["l2_eps"], acc)


def vjp(case: Case, cotangent: np.ndarray, acc: str) -> list[Bounded]:
    largest, roots = _steps(case, acc)
    ct = bounds.exact(cotangent.astype(np.longdouble))
    slope = bounds.l2_normalize_vjp(ct, roots, case.options["l2_eps"], acc)
    slope = bounds.signed_sqrt_vjp(slope, largest, case.options["eps"], acc)
    return outer_max_pool.vjp_inexact(case, Bounded(*map(_square(case), slope)), acc)


def _largest(case: Case) -> np.ndarray:
    return reference.outer_max_pool(*case.double(), **_masked(case))


def _masked(case: Case) -> dict[str, Any]:
    return {k: v for k, v in case.options.items() if k == "mask"}


def _steps(case: Case, acc: str) -> tuple[Bounded, Bounded]:
    largest = Bounded(*map(_flat, outer_max_pool.forward(case, acc)))
    return largest, bounds.signed_sqrt(largest, case.options["eps"], acc)


def _flat(values: np.ndarray) -> np.ndarray:
    n, c, d = values.shape
    return values.reshape(n, c * d)


def _square(case: Case) -> Any:
    return lambda values: values.reshape(outer_max_pool.output_shape(case))
