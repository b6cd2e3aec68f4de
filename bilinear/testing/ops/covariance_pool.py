"""`covariance_pool`: draws, hard points, truth with its bound."""

import numpy as np

from ..bounds import Bounded, exact, gamma
from ..cases import Case, cotangents, pooled_cases, pooled_edges, pooled_smooth
from ..linearization import Roundings, propagate
from .outer_pool import output_shape, unpack


def cases(dtype: str):
    return pooled_cases(dtype).map(_of_covariance)


def edges(dtype: str) -> dict[str, Case]:
    plain = {label: _of_covariance(case) for label, case in pooled_edges(dtype).items()}
    x = plain["mean of three"].arrays[0]
    far = (x.astype(np.float64) * 2.0**-3 + 4).astype(x.dtype)
    return plain | {
        "far from 0": Case((far,)),
        "one location kept": Case((x,), {"mask": np.array([[False, True, False]] * len(x))}),
    }


def smooth(dtype: str) -> list[Case]:
    return [_of_covariance(case) for case in pooled_smooth(dtype)[:2]]


def forward(case: Case, acc: str) -> Bounded:
    x, y, keep, z = unpack(_of_mean(case))
    inputs = [exact(x)] if len(case.arrays) == 1 else [exact(x), exact(y)]

    def program(r: Roundings, *streams):
        first, last = _both_centred(r, streams, keep, z)
        return r(r.einsum("...lc,...ld->...cd", first, last) / z, 2)

    return propagate(program, inputs, acc)  # type: ignore[return-value]


def vjp(case: Case, cotangent: np.ndarray, acc: str) -> list[Bounded]:
    return pooled_vjp(case, exact(cotangent.astype(np.longdouble)), acc)


def pooled_vjp(case: Case, ct: Bounded, acc: str) -> list[Bounded]:
    """The gradient for a cotangent that may be inexact."""
    x, y, keep, z = unpack(_of_mean(case))
    inputs = [exact(x)] if len(case.arrays) == 1 else [exact(x), exact(y)]

    def program(r: Roundings, ct, *streams):
        first, last = _both_centred(r, streams, keep, z)
        g = r(ct / z, 2)
        dx = r.einsum("...cd,...ld->...lc", g, last)
        dy = r.einsum("...cd,...lc->...ld", g, first)
        parts = (dx, dy) if len(streams) == 2 else (r(dx + dy),)
        return tuple(_kept(_less_its_mean(r, part, keep, z), keep) for part in parts)

    return list(propagate(program, [ct, *inputs], acc))  # type: ignore[arg-type]


def _both_centred(r: Roundings, streams, keep, z):
    first = _centred(r, streams[0], keep, z)
    return first, first if len(streams) == 1 else _centred(r, streams[1], keep, z)


def _centred(r: Roundings, x, keep, z):
    """Less the mean: a sum of L terms, a division, a difference."""
    x = _kept(x, keep)

    def size():
        return gamma(x.shape[-2], r.acc) * np.abs(x).sum(-2, keepdims=True)

    mean = r(r.site(x.sum(-2, keepdims=True), size) / z, 2)
    return _kept(r(x - mean), keep)


def _less_its_mean(r: Roundings, dx, keep, z):
    """Autograd takes off the mean of the gradient, which is 0: it only rounds."""

    def size():
        mean = np.abs(_kept(dx, keep)).sum(-2, keepdims=True) / z
        return gamma(dx.shape[-2] + 3, r.acc) * (np.abs(dx) + mean)

    return r.site(dx, size)


def _kept(x, keep):
    return x if keep is None else np.where(keep[:, :, None], x, 0)


def _of_covariance(case: Case) -> Case:
    options = {name: value for name, value in case.options.items() if name == "mask"}
    return Case(case.arrays, options)


def _of_mean(case: Case) -> Case:
    return Case(case.arrays, case.options | {"reduction": "mean"})


__all__ = ["cases", "cotangents", "edges", "forward", "output_shape", "smooth", "vjp"]
