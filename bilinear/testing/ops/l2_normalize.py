"""`l2_normalize`: random cases, singular points, error bounds."""

import numpy as np
from hypothesis import strategies as st

from ..bounds import Bounded, gamma
from ..cases import DTYPES, Case, away_from_zero, features, normal

NORMS = st.sampled_from(["floor", "added"])
FLOORS = st.sampled_from([1e-12, 1e-6, 0.5, 2.0**-20])


@st.composite
def cases(draw, dtype: str) -> Case:
    shape = draw(st.sampled_from([(2, 3), (4,), (0, 3), (1, 2, 5), (2, 1)]))
    return Case((draw(features(dtype, shape)),), {"eps": draw(FLOORS), "norm": draw(NORMS)})


def edges(dtype: str) -> dict[str, Case]:
    z = normal(dtype, 3, 4)
    z[1] = 0
    nan = z.copy()
    nan[0, 1] = np.nan
    at_floor = np.array([[0.5, 0.0], [0.25, 0.0], [0.75, 0.0]]).astype(DTYPES[dtype])
    short = np.array([[1e-6, 2e-6]]).astype(DTYPES[dtype])
    return {
        "zero vector": Case((z,)),
        "NaN fills its vector": Case((nan,)),
        "at the floor": Case((at_floor,), {"eps": 0.5}),
        "zero vector, eps added": Case((z,), {"norm": "added", "eps": 1e-7}),
        "NaN fills its vector, eps added": Case((nan,), {"norm": "added"}),
        "floor on the norm, not on its square": Case((short,)),
    }


def smooth(dtype: str) -> list[Case]:
    z = away_from_zero(dtype, 2, 3, 4)
    added = Case((z,), {"eps": 0.5, "norm": "added"})
    return [*(Case((z,), {"eps": eps}) for eps in (1e-12, 1e3)), added]


def forward(case: Case, acc: str) -> Bounded:
    """``z / max(‖z‖, eps)``, at most the largest numerator over the smallest norm; 3 roundings."""
    (z,), (length, length_error) = case.bounded(), _norm_and_error(case, acc)
    value = z.value / length
    largest = (np.abs(z.value) + z.error) / _positive(length - length_error)
    error = largest - np.abs(value) + gamma(3, acc) * largest
    return Bounded(value, error)


def vjp(case: Case, ct: Bounded, acc: str) -> list[Bounded]:
    """``(γ - u⟨u,γ⟩) / ‖z‖`` above the floor, ``γ / eps`` below it."""
    (z,), (length, length_error) = case.bounded(), _norm_and_error(case, acc)
    eps, u = case.options["eps"], forward(case, acc)
    largest = np.abs(ct.value) + ct.error
    along = np.sum(u.value * ct.value, axis=-1, keepdims=True)
    size = np.sum((np.abs(u.value) + u.error) * largest, axis=-1, keepdims=True)
    along_error = np.sum(u.error * largest + np.abs(u.value) * ct.error, axis=-1, keepdims=True)
    along_error = along_error + gamma(z.shape[-1] + 4, acc) * size
    difference = ct.value - u.value * along
    difference_error = ct.error + np.abs(u.value) * along_error + u.error * size
    difference_error = difference_error + gamma(8, acc) * (largest + np.abs(u.value) * size)
    shortest = _positive(length - length_error)
    above = Bounded(
        difference / length,
        (np.abs(difference) + difference_error) / shortest - np.abs(difference) / length,
    )
    if case.options["norm"] == "added":  # this form has no floor
        return [above]
    below = Bounded(ct.value / length, (ct.error + gamma(4, acc) * largest) / length)
    raw = np.sqrt(np.sum(z.value * z.value, axis=-1, keepdims=True))
    raw_error = _raw_norm_error(z, raw, acc)
    floored = np.broadcast_to(raw <= eps, ct.shape)
    undecided = np.abs(raw - eps) <= raw_error + gamma(2, acc) * eps  # either branch is correct
    error = np.where(undecided, np.inf, np.where(floored, below.error, above.error))
    return [Bounded(np.where(floored, below.value, above.value), error)]


def _norm_and_error(case: Case, acc: str):
    (z,), eps = case.bounded(), case.options["eps"]
    square = np.sum(z.value * z.value, axis=-1, keepdims=True)
    if case.options["norm"] == "added":
        length = np.sqrt(square + eps)
        return length, _raw_norm_error(z, length, acc, 2)
    raw = np.sqrt(square)
    error = _raw_norm_error(z, raw, acc)
    length = np.where(raw <= eps, eps, raw)
    return length, np.where(raw + error <= eps, gamma(1, acc) * eps, error)


def _raw_norm_error(z: Bounded, raw, acc: str, more: int = 0):
    """‖z + δ‖ differs from ‖z‖ by at most ‖δ‖; K squares, their sum and the root are rounded."""
    carried = np.sqrt(np.sum(z.error * z.error, axis=-1, keepdims=True))
    return carried + gamma(z.shape[-1] + 2 + more, acc) * (raw + carried)


def _positive(x):
    """Replace values that are not positive by a tiny one, so that a quotient is practically inf."""
    return np.where(x > 0, x, np.finfo(np.longdouble).tiny)
