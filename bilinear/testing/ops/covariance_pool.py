"""`covariance_pool`: random cases, singular points, error bounds."""

import numpy as np

from ..bounds import Bounded, exact, gamma, select_locations
from ..cases import Case, cotangents, pooling_cases, pooling_edges, pooling_smooth
from ..linearization import Roundings, propagate
from .outer_pool import output_shape, unpack


def cases(dtype: str):
    return pooling_cases(dtype).map(_mask_only)


def edges(dtype: str) -> dict[str, Case]:
    plain = {label: _mask_only(case) for label, case in pooling_edges(dtype).items()}
    x = plain["mean of three"].arrays[0]
    far = (x.astype(np.float64) * 2.0**-3 + 4).astype(x.dtype)
    return plain | {
        "far from 0": Case((far,)),
        "one valid location": Case((x,), {"mask": np.array([[False, True, False]] * len(x))}),
    }


def smooth(dtype: str) -> list[Case]:
    return [_mask_only(case) for case in pooling_smooth(dtype)[:2]]


def forward(case: Case, acc: str) -> Bounded:
    x, y, keep, z = unpack(_with_mean(case))
    inputs = [exact(x)] if len(case.arrays) == 1 else [exact(x), exact(y)]

    def program(r: Roundings, *streams):
        first, last = _center_both(r, streams, keep, z)
        return r(r.einsum("...lc,...ld->...cd", first, last) / z, 2)

    return propagate(program, inputs, acc)  # type: ignore[return-value]


def vjp(case: Case, cotangent: np.ndarray, acc: str) -> list[Bounded]:
    return vjp_inexact(case, exact(cotangent.astype(np.longdouble)), acc)


def vjp_inexact(case: Case, ct: Bounded, acc: str) -> list[Bounded]:
    """The gradients for an inexact cotangent."""
    x, y, keep, z = unpack(_with_mean(case))
    inputs = [exact(x)] if len(case.arrays) == 1 else [exact(x), exact(y)]

    def program(r: Roundings, ct, *streams):
        first, last = _center_both(r, streams, keep, z)
        g = r(ct / z, 2)
        dx = r.einsum("...cd,...ld->...lc", g, last)
        dy = r.einsum("...cd,...lc->...ld", g, first)
        parts = (dx, dy) if len(streams) == 2 else (r(dx + dy),)
        return tuple(select_locations(_subtract_mean(r, part, keep, z), keep) for part in parts)

    return list(propagate(program, [ct, *inputs], acc))  # type: ignore[arg-type]


def _center_both(r: Roundings, streams, keep, z):
    first = _center(r, streams[0], keep, z)
    return first, first if len(streams) == 1 else _center(r, streams[1], keep, z)


def _center(r: Roundings, x, keep, z):
    """Subtract the mean: a sum of L terms, a division and a difference."""
    x = select_locations(x, keep)

    def size():
        return gamma(x.shape[-2], r.acc) * np.abs(x).sum(-2, keepdims=True)

    mean = r(r.site(x.sum(-2, keepdims=True), size) / z, 2)
    return select_locations(r(x - mean), keep)


def _subtract_mean(r: Roundings, dx, keep, z):
    """Round as autograd does, which subtracts the mean of the gradient although it is 0."""

    def size():
        mean = np.abs(select_locations(dx, keep)).sum(-2, keepdims=True) / z
        return gamma(dx.shape[-2] + 3, r.acc) * (np.abs(dx) + mean)

    return r.site(dx, size)


def _mask_only(case: Case) -> Case:
    options = {name: value for name, value in case.options.items() if name == "mask"}
    return Case(case.arrays, options)


def _with_mean(case: Case) -> Case:
    return Case(case.arrays, case.options | {"reduction": "mean"})


__all__ = ["cases", "cotangents", "edges", "forward", "output_shape", "smooth", "vjp"]
