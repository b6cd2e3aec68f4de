"""`democratic_weights`: random cases, singular points, error bounds by linearisation."""

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ..bounds import Bounded, exact, gamma
from ..cases import DTYPES, Case, away_from_zero, cotangents, magnitudes, normal
from ..linearization import Roundings, propagate

POWER = 4
"""Number of roundings that a power counts as (2 ulp, the accuracy of good libraries)."""

DEFAULTS = {
    "gamma": 0.5,
    "damping": 0.5,
    "steps": 10,
    "eps": 1e-10,
    "mask": None,
    "detach_target": False,
}


@st.composite
def cases(draw, dtype: str) -> Case:
    shape = draw(st.sampled_from([(2, 4, 3), (1, 1, 2), (0, 2, 3)]))
    options: dict[str, Any] = {
        "gamma": draw(st.sampled_from([0.5, 0.0, 1.0, 0.25])),
        "damping": draw(st.sampled_from([0.5, 1.0, 0.75])),
        "steps": draw(st.sampled_from([1, 3])),
        "eps": draw(st.sampled_from([1e-10, 2.0**-10])),
    }
    if draw(st.booleans()):
        options["mask"] = draw(hnp.arrays(np.bool_, shape[:2]))
    # K grows with the fourth power of the features, and the gradient divides by it
    x = draw(hnp.arrays(np.float64, shape, elements=magnitudes(dtype)))
    x = x * 2.0 ** draw(st.sampled_from([0, -4, 4]))
    if draw(st.booleans()):
        x[:, :1] = 0
    return Case((x.astype(DTYPES[dtype]),), options)


def edges(dtype: str) -> dict[str, Case]:
    x = normal(dtype, 2, 4, 3)
    keep = np.array([[True, False, True, True], [False] * 4])
    poisoned, nan, dead = x.copy(), x.copy(), x.copy()
    poisoned[~keep] = np.nan
    nan[0, 1, 2] = np.nan
    dead[0, 1] = 0
    few = {"steps": 2}  # the cost of the bound grows with the steps
    return {
        "all zero": Case((np.zeros_like(x),), few),
        "NaN behind the mask": Case((poisoned,), few | {"mask": keep}),
        "NaN reaches": Case((nan,), few),
        "zero vector": Case((dead,), few),
        "zero vector, equal shares": Case((dead,), few | {"gamma": 0.0}),
        "sum pooling": Case((x,), few | {"gamma": 1.0}),
        "constant targets": Case((x,), few | {"detach_target": True}),
        "empty batch": Case((x[:0],)),
        "defaults": Case((x,)),
    }


def smooth(dtype: str) -> list[Case]:
    """Few steps, because second derivatives are expensive."""
    x = away_from_zero(dtype, 2, 3, 4)
    keep = np.array([[True, False, True], [True] * 3])
    return [
        Case((x,), {"steps": 2}),
        Case((x,), {"gamma": 0.25, "damping": 0.75, "steps": 1, "mask": keep}),
    ]


def output_shape(case: Case) -> tuple[int, ...]:
    return case.arrays[0].shape[:2]


def forward(case: Case, acc: str) -> Bounded:
    options = DEFAULTS | case.options

    def program(r: Roundings, x: Any) -> Any:
        return select_locations(weights(r, x, options)[-1], options)

    bounded = propagate(program, [exact(case.upcast()[0])], acc)
    assert isinstance(bounded, Bounded)
    return bounded


def vjp(case: Case, cotangent: np.ndarray, acc: str) -> list[Bounded]:
    options = DEFAULTS | case.options

    def program(r: Roundings, x: Any, ct: Any) -> Any:
        return gradient(r, x, select_locations(ct, options), options)

    ct = cotangent.astype(np.longdouble)
    bounded = propagate(program, [exact(case.upcast()[0]), exact(ct)], acc)
    assert isinstance(bounded, Bounded)
    return [bounded]


def select_locations(values: Any, options: dict[str, Any]) -> Any:
    """Set `values` (..., N, L) to 0 where the mask is False."""
    return values if options["mask"] is None else np.where(options["mask"], values, 0)


def weights(r: Roundings, x: Any, options: dict[str, Any]) -> list[Any]:
    """Return α before each step and after the last."""
    _, k = _kernel(r, x, options)
    return _iterates(r, k, _target(r, k, options)[0], options)


def gradient(r: Roundings, x: Any, ct: Any, options: dict[str, Any]) -> Any:
    """Return the gradient of x from the cotangent of α."""
    inner, k = _kernel(r, x, options)
    c, slope = _target(r, k, options)
    alphas = _iterates(r, k, c, options)
    eps, damping = options["eps"], options["damping"]
    of_c: Any = 0
    of_k: list[Any] = []
    for before, after in zip(alphas[-2::-1], alphas[:0:-1], strict=True):
        scaled = r(ct * after, 3)
        of_c = r(of_c + r(damping * scaled / (c + eps), 6 + POWER))
        sums = r(_times(r, k, before) + eps, 2)
        power = r(sums**damping, POWER)
        of_sums = r(-damping * scaled * power / (sums * (power + eps)), 8 + POWER)
        of_k.append(of_sums[..., :, None] * before[..., None, :])
        through = r((1 - damping) * scaled / (before + eps), 6 + POWER)
        ct = r(through + _times(r, k, of_sums))
    if not options["detach_target"]:
        of_k.append((of_c * slope)[..., :, None] + 0 * k)
    size: Any = sum(map(np.abs, of_k))
    total: Any = sum(of_k)
    total = r.site(total, lambda: gamma(len(of_k) + 2, r.acc) * size)
    of_inner = r(2 * inner * total, 2)
    both = r(of_inner + of_inner.swapaxes(-1, -2))
    return _masked(r.einsum("...lm,...mc->...lc", both, _masked(x, options)), options)


def _kernel(r: Roundings, x: Any, options: dict[str, Any]) -> tuple[Any, Any]:
    x = _masked(x, options)
    inner = r.einsum("...lc,...mc->...lm", x, x)
    return inner, r(inner * inner)


def _masked(x: Any, options: dict[str, Any]) -> Any:
    return x if options["mask"] is None else np.where(options["mask"][..., None], x, 0)


def _target(r: Roundings, k: Any, options: dict[str, Any]) -> tuple[Any, Any]:
    """Return C and its derivative by the sums of K."""
    exponent = options["gamma"]
    total: Any = r.sum(k)[..., 0]
    dead = total.real == 0
    base = np.where(dead, 1, total)
    c = np.where(dead, 0, base**exponent)
    slope = np.where(dead, 0, exponent * base ** (exponent - 1))
    return r(c, POWER), r(slope, POWER + 2)


def _iterates(r: Roundings, k: Any, c: Any, options: dict[str, Any]) -> list[Any]:
    eps, damping = options["eps"], options["damping"]
    target = r(r(c + eps, 2) ** damping, POWER)
    alphas = [np.ones_like(c)]
    for _ in range(options["steps"]):
        sums = r(r(_times(r, k, alphas[-1]) + eps, 2) ** damping, POWER) + eps
        power = r(alphas[-1] + eps, 2) ** (1 - damping)
        alphas.append(r(target * power / sums, POWER + 4))
    return alphas


def _times(r: Roundings, k: Any, alpha: Any) -> Any:
    return r.einsum("...lm,...mk->...lk", k, alpha[..., :, None])[..., 0]


__all__ = ["cases", "cotangents", "edges", "forward", "output_shape", "smooth", "vjp"]
