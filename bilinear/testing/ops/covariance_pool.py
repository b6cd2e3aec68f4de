"""`covariance_pool`: random cases, singular points, error bounds."""

import numpy as np

from ..bounds import Bounded, divisor, gamma, select_locations
from ..cases import Case, pooling_cases, pooling_edges, pooling_smooth
from ..linearization import Roundings, propagate


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
    def program(r: Roundings, *streams):
        first, last, z = center(r, streams, case)
        return r(r.einsum("...lc,...ld->...cd", first, last) / z, 2)

    return propagate(program, case.bounded(), acc)  # type: ignore[return-value]


def vjp(case: Case, ct: Bounded, acc: str) -> list[Bounded]:
    def program(r: Roundings, ct, *streams):
        first, last, z = center(r, streams, case)
        g = r(ct / z, 2)
        dx = r.einsum("...cd,...ld->...lc", g, last)
        dy = r.einsum("...cd,...lc->...ld", g, first)
        parts = (dx, dy) if len(streams) == 2 else (r(dx + dy),)
        rounded = (subtract_mean(r, part, case.options["mask"], z) for part in parts)
        return tuple(select_locations(part, case.options["mask"]) for part in rounded)

    return list(propagate(program, [ct, *case.bounded()], acc))  # type: ignore[arg-type]


def center(r: Roundings, streams, case: Case):
    """Subtract the means, each a sum of L terms, a division and a difference; return Z too."""
    z, centered, keep = count(case), [], case.options["mask"]
    for x in (select_locations(stream, keep) for stream in streams):
        size = gamma(x.shape[-2], r.acc) * np.abs(x).sum(-2, keepdims=True)
        mean = r(r.site(x.sum(-2, keepdims=True), lambda size=size: size) / z, 2)
        centered.append(select_locations(r(x - mean), keep))
    return centered[0], centered[-1], z


def count(case: Case) -> np.ndarray:
    """Return the number of valid locations, at least 1, as (N, 1, 1)."""
    return divisor(case.arrays[0], case.options["mask"], "mean")[..., None]


def subtract_mean(r: Roundings, dx, keep, z):
    """Round as autograd does, which subtracts the mean of the gradient although it is 0."""

    def size():
        mean = np.abs(select_locations(dx, keep)).sum(-2, keepdims=True) / z
        return gamma(dx.shape[-2] + 3, r.acc) * (np.abs(dx) + mean)

    return r.site(dx, size)


def _mask_only(case: Case) -> Case:
    return Case(case.arrays, {k: v for k, v in case.options.items() if k == "mask"})
