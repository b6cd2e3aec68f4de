"""`democratic_weights`: random cases, singular points, error bounds by linearisation."""

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ..bounds import Bounded, gamma, select_locations
from ..cases import (
    DTYPES,
    SMOOTH_VALID,
    VALID,
    Case,
    away_from_zero,
    magnitudes,
    normal,
    options_and_mask,
    with_nan,
)
from ..linearization import Roundings, propagate

POWER = 4
"""Number of roundings that a power counts as (2 ulp, the accuracy of good libraries)."""


@st.composite
def cases(draw, dtype: str) -> Case:
    shape = draw(st.sampled_from([(2, 4, 3), (1, 1, 2), (0, 2, 3)]))
    options = options_and_mask(
        shape[:2],
        gamma=st.sampled_from([0.5, 0.0, 1.0, 0.25]),
        damping=st.sampled_from([0.5, 1.0, 0.75]),
        steps=st.sampled_from([1, 3]),
        eps=st.sampled_from([1e-10, 2.0**-10]),
    )
    given = draw(options)
    # K grows with the fourth power of the features, and the gradient divides by it
    x = draw(hnp.arrays(np.float64, shape, elements=magnitudes(dtype)))
    x = x * 2.0 ** draw(st.sampled_from([0, -4, 4]))
    if draw(st.booleans()):
        x[:, :1] = 0
    return Case((x.astype(DTYPES[dtype]),), given)


def edges(dtype: str) -> dict[str, Case]:
    x = normal(dtype, 2, 4, 3)
    (hidden, nan), dead = with_nan(x), x.copy()
    dead[0, 1] = 0
    few = {"steps": 2}  # the cost of the bound grows with the steps
    return {
        "all zero": Case((np.zeros_like(x),), few),
        "NaN behind the mask": Case((hidden,), few | {"mask": VALID}),
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
    other = {"gamma": 0.25, "damping": 0.75, "steps": 1, "mask": SMOOTH_VALID}
    return [Case((x,), {"steps": 2}), Case((x,), other)]


def forward(case: Case, acc: str) -> Bounded:
    def program(r: Roundings, x: Any) -> Any:
        return select(weights(r, x, case.options)[-1], case.options)

    return propagate(program, case.bounded(), acc)  # type: ignore[return-value]


def vjp(case: Case, ct: Bounded, acc: str) -> list[Bounded]:
    def program(r: Roundings, x: Any, ct: Any) -> Any:
        return gradient(r, x, select(ct, case.options), case.options)

    return [propagate(program, [*case.bounded(), ct], acc)]  # type: ignore[list-item]


def select(values: Any, options: dict[str, Any]) -> Any:
    """Set `values` (..., N, L) to 0 where the mask is False."""
    return select_locations(values[..., None], options["mask"])[..., 0]


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
    x = select_locations(x, options["mask"])
    return select_locations(r.einsum("...lm,...mc->...lc", both, x), options["mask"])


def _kernel(r: Roundings, x: Any, options: dict[str, Any]) -> tuple[Any, Any]:
    x = select_locations(x, options["mask"])
    inner = r.einsum("...lc,...mc->...lm", x, x)
    return inner, r(inner * inner)


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
