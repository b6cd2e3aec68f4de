"""Mathematical laws of bilinear pooling, which hold for every backend.

A law equates two results of one backend. They differ by at most the sum of their error bounds
(`bounds.py`) times `SLACK`. Laws that need further inputs (sums, products with a matrix) use
multiples of 1/16, for which these are exact. Laws are tested in float64 if the backend has it, else
in float32.

Each law is a function of a driver and of the arguments that its strategy in `LAWS` draws.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from .. import reference
from .bounds import Bounded, exact, gamma
from .cases import DTYPES, Case
from .closeness import assert_rounded, assert_within
from .driver import Driver
from .operators import Operator
from .subjects import OPS, arithmetic
from .tolerances import SLACK


def compute(driver: Driver, op: str, case: Case) -> Bounded:
    """Return the backend's result for a case, and its error bound."""
    __tracebackhide__ = True
    value, dtype = driver.value(op, case.arrays, case.options), case.arrays[0].dtype
    assert value.dtype == dtype, f"{op} on {driver.name}: dtype {value.dtype}, expected {dtype}"
    acc = arithmetic(case.arrays[0], tf32=driver.tf32)
    return Bounded(value, Operator(op, case).value(acc).error)


def assert_same(left: Bounded, right: Bounded, what: str) -> None:
    """Assert that two results differ by at most both bounds and the final roundings."""
    __tracebackhide__ = True
    around = Bounded(right.value.astype(np.longdouble), left.error + right.error)
    assert_within(left.value, around, right.value.dtype.name, what)


def linear(bounded: Bounded, left: np.ndarray, right: np.ndarray) -> Bounded:
    """``leftᵀ G right`` with the propagated errors of G and those of the two products."""
    value = left.T @ bounded.value @ right
    size = np.abs(left).T @ np.abs(bounded.value) @ np.abs(right)
    carried = np.abs(left).T @ bounded.error @ np.abs(right)
    terms = left.shape[0] + right.shape[0]
    return Bounded(value, carried + gamma(terms, bounded.value.dtype.name) * size)


def at_locations(case: Case, index: list[int]) -> Case:
    """Return the case with the locations `index`, in this order."""
    options = {k: v[:, index] if k == "mask" else v for k, v in case.options.items()}
    return Case(tuple(a[:, index] for a in case.arrays), options)


def check_order(driver: Driver, op: str, case: Case, order: list[int]) -> None:
    """The order of locations does not matter."""
    left, right = compute(driver, op, case), compute(driver, op, at_locations(case, order))
    assert_same(left, right, f"{op} on {driver.name}, locations permuted")


def check_linearity(
    driver: Driver, x: np.ndarray, more: np.ndarray, y: np.ndarray, factor: float, reduction: str
) -> None:
    """``pool(a X + X', Y) = a pool(X, Y) + pool(X', Y)``, likewise in the second stream."""
    for first in (True, False):

        def pool(a: np.ndarray, *, first: bool = first) -> Bounded:
            case = Case((a, y) if first else (y, a), {"reduction": reduction})
            return compute(driver, "outer_pool", case)

        one, two = pool(x), pool(more)
        value = x.dtype.type(factor) * one.value + two.value
        size = np.abs(factor * one.value) + np.abs(two.value)
        error = abs(factor) * one.error + two.error + gamma(2, x.dtype.name) * size
        sums = pool(x.dtype.type(factor) * x + more)
        assert_same(sums, Bounded(value, error), f"outer_pool on {driver.name}, linearity")


def check_exchange(driver: Driver, case: Case) -> None:
    """``pool(Y, X) = pool(X, Y)ᵀ``."""
    exchanged = compute(driver, "outer_pool", Case(case.arrays[::-1], case.options))
    plain = compute(driver, "outer_pool", case)
    transposed = plain.map(lambda part: part.swapaxes(1, 2))
    assert_same(exchanged, transposed, f"outer_pool on {driver.name}, streams exchanged")


def check_mixing(
    driver: Driver, x: np.ndarray, y: np.ndarray, u: np.ndarray, v: np.ndarray
) -> None:
    """``pool(XU, YV) = Uᵀ pool(X, Y) V``."""
    cases = Case((x @ u, y @ v)), Case((x, y))
    mixed, plain = (compute(driver, "outer_pool", case).map(lambda part: part[0]) for case in cases)
    assert_same(mixed, linear(plain, u, v), f"outer_pool on {driver.name}, channels mixed")


def check_semidefiniteness(driver: Driver, case: Case) -> None:
    """The result for one stream is symmetric and positive semidefinite."""
    g = compute(driver, "outer_pool", case)
    transposed = g.map(lambda part: part.swapaxes(1, 2))
    assert_same(g, transposed, f"outer_pool on {driver.name}, symmetry")
    for value, error in zip(g.value, g.error.astype(np.float64), strict=True):
        # an eigenvalue changes by at most the norm of the error; eigvalsh errs by about C · u
        rounding = gamma(8 * len(value), value.dtype.name) * np.linalg.norm(value)
        allowed = SLACK * (np.linalg.norm(error) + rounding)
        least = np.linalg.eigvalsh((value + value.T) / 2).min()
        assert least >= -allowed, f"outer_pool on {driver.name}: eigenvalue {least}"


def check_unit_length(driver: Driver, case: Case) -> None:
    """Descriptors have norm 1 above the floor, and a smaller norm below it."""
    options = {k: v for k, v in case.options.items() if k in ("mask", "reduction")}
    floor = case.options["l2_eps"]
    result = compute(driver, "bilinear_pool", case).value
    pooled = reference.outer_pool(*case.arrays, **options)
    roots = reference.signed_sqrt(pooled, eps=case.options["eps"])
    raw = np.sqrt(np.sum(roots * roots, axis=(1, 2)))
    norms = np.linalg.norm(result, axis=1)
    above, below = norms[raw > 2 * floor], norms[raw < floor / 2]
    if above.size:
        what = f"bilinear_pool on {driver.name}, length"
        assert_rounded(above, 1, result.shape[1] + 8, what)
    assert (below < 1).all(), f"bilinear_pool on {driver.name}: length {below.max()} of a short one"


def check_scale(driver: Driver, arrays: tuple[np.ndarray, ...], rank: list[float]) -> None:
    """Without eps, the scale of the features does not matter."""
    options = {"eps": 0.0, "l2_eps": 1e-12}
    scaled = tuple(a * a.dtype.type(f) for a, f in zip(arrays, rank, strict=False))
    left = compute(driver, "bilinear_pool", Case(arrays, options))
    right = compute(driver, "bilinear_pool", Case(scaled, options))
    assert_same(left, right, f"bilinear_pool on {driver.name}, features scaled by {rank}")


def check_samples(driver: Driver, op: str, case: Case) -> None:
    """The samples of a batch are independent."""
    whole = compute(driver, op, case)
    for n in range(case.arrays[0].shape[0]):
        alone = {k: v[n : n + 1] if k == "mask" else v for k, v in case.options.items()}
        single = Case(tuple(a[n : n + 1] for a in case.arrays), alone)
        part = whole.map(lambda a, n=n: a[n : n + 1])
        assert_same(part, compute(driver, op, single), f"{op} on {driver.name}, sample {n} alone")


def check_mask(driver: Driver, op: str, case: Case) -> None:
    """A mask equals removing the locations; without a valid location, the result is 0."""
    whole = compute(driver, op, case)
    plain = {k: v for k, v in case.options.items() if k != "mask"}
    what = f"{op} on {driver.name}, masked locations"
    for n, keep in enumerate(case.options["mask"]):
        part = Bounded(whole.value[n : n + 1], whole.error[n : n + 1])
        if keep.any():
            dropped = Case(tuple(a[n : n + 1, keep] for a in case.arrays), plain)
            assert_same(part, compute(driver, op, dropped), what)
        else:
            assert not part.value.any(), f"{what}: no valid location, but the result {part.value}"


def check_repetition(driver: Driver, op: str, case: Case) -> None:
    """Repeating all locations does not change a mean."""
    twice = at_locations(case, list(range(case.arrays[0].shape[1])) * 2)
    left, right = compute(driver, op, case), compute(driver, op, twice)
    assert_same(left, right, f"{op} on {driver.name}, every location twice")


def check_closed_form(driver: Driver, x: np.ndarray) -> None:
    """``‖signed_sqrt(G)‖² = (1/L) Σ_l (Σ_c x_lc)²`` for features ≥ 0 without eps."""
    pooled = driver.value("outer_pool", (x,), {}).reshape(x.shape[0], -1)
    roots = driver.value("signed_sqrt", (pooled,), {"eps": 0.0})
    expected = np.mean(x.astype(np.float64).sum(2) ** 2, axis=1)
    terms = pooled.shape[1] + x.shape[1] + x.shape[2] + 4
    what = f"outer_pool and signed_sqrt on {driver.name}, closed form"
    assert_rounded(np.sum(roots**2, axis=1), expected, terms, what)


def check_adjointness(driver: Driver, op: str, case: Case, cotangent, tangents, way: str) -> None:
    """``⟨γ, J v⟩ = ⟨Jᵀ γ, v⟩`` for one of the backend's forward derivatives."""
    gradients = driver.gradients(op, cotangent, case.arrays, case.options)
    reverse = sum(float(np.sum(g * v)) for g, v in zip(gradients, tangents, strict=True))
    ct = exact(cotangent.astype(np.longdouble))
    bounded = Operator(op, case).gradients(ct, cotangent.dtype.name)
    size = error = 0.0
    for b, v in zip(bounded, tangents, strict=True):
        size += float(np.sum((np.abs(b.value) + b.error) * np.abs(v)))
        error += float(np.sum(b.error * np.abs(v)))
    forward = float(np.sum(cotangent * driver.jvps[way](op, tangents, case.arrays, case.options)))
    # J v has the same roundings as Jᵀ γ, in exchanged sums
    margin = 2 * SLACK * (error + gamma(64, cotangent.dtype.name) * size)
    assert abs(forward - reverse) <= margin, (
        f"{op} on {driver.name}, {way}: ⟨γ, J v⟩ is {forward}, ⟨Jᵀ γ, v⟩ is {reverse}, "
        f"allowed {margin:.3g}"
    )


def sixteenths(dtype: str, *shape: int) -> st.SearchStrategy[np.ndarray]:
    values = hnp.arrays(np.int64, shape, elements=st.integers(-64, 64))
    return values.map(lambda a: (a / 16).astype(DTYPES[dtype]))


def _cases(op: str, dtype: str, streams: tuple[int, ...] = (1, 2)) -> st.SearchStrategy[Case]:
    return OPS[op].cases(dtype).filter(lambda case: len(case.arrays) in streams)


@st.composite
def _case_and_order(draw, op: str, dtype: str):
    case = draw(_cases(op, dtype))
    return op, case, draw(st.permutations(range(case.arrays[0].shape[1])))


class Law(NamedTuple):
    """A check, the strategy of its arguments for a dtype, and its operators."""

    check: Callable[..., None]
    draw: Callable[[str], st.SearchStrategy[tuple[Any, ...]]]
    operators: tuple[str, ...]


def _of_one(check, draw, *operators: str) -> Law:
    return Law(check, lambda dtype: draw(dtype).map(lambda case: (case,)), operators)


def _laws_of(op: str) -> dict[str, Law]:
    def draw(condition: Callable[[Case], bool]):
        return lambda dtype: st.tuples(st.just(op), _cases(op, dtype).filter(condition))

    return {
        f"{op}: order of locations": Law(check_order, lambda d: _case_and_order(op, d), (op,)),
        f"{op}: samples": Law(check_samples, draw(lambda case: True), (op,)),
        f"{op}: mask": Law(check_mask, draw(lambda case: "mask" in case.options), (op,)),
        f"{op}: repetition": Law(
            check_repetition, draw(lambda case: case.options["reduction"] == "mean"), (op,)
        ),
    }


LAWS: dict[str, Law] = {
    **_laws_of("outer_pool"),
    **_laws_of("bilinear_pool"),
    "outer_pool: linearity": Law(
        check_linearity,
        lambda d: st.tuples(
            *(sixteenths(d, 2, 3, size) for size in (4, 4, 2)),
            st.sampled_from([-2.0, 0.5, 3.0]),
            st.sampled_from(["mean", "sum"]),
        ),
        ("outer_pool",),
    ),
    "outer_pool: exchange of streams": _of_one(
        check_exchange, lambda d: _cases("outer_pool", d, (2,)), "outer_pool"
    ),
    "outer_pool: mixing of channels": Law(
        check_mixing,
        lambda d: st.tuples(*(sixteenths(d, *s) for s in ((1, 3, 4), (1, 3, 2), (4, 3), (2, 5)))),
        ("outer_pool",),
    ),
    "outer_pool: semidefiniteness": _of_one(
        check_semidefiniteness, lambda d: _cases("outer_pool", d, (1,)), "outer_pool"
    ),
    "bilinear_pool: unit length": _of_one(
        check_unit_length, lambda d: _cases("bilinear_pool", d), "bilinear_pool"
    ),
    "bilinear_pool: scale": Law(
        check_scale,
        lambda d: st.tuples(
            st.one_of(*(st.tuples(*(sixteenths(d, 2, 3, c) for c in s)) for s in ((3,), (3, 2)))),
            st.lists(st.sampled_from([0.25, 3.0, 1024.0]), min_size=2, max_size=2),
        ),
        ("bilinear_pool",),
    ),
    "outer_pool, signed_sqrt: closed form": _of_one(
        check_closed_form, lambda d: sixteenths(d, 2, 5, 3).map(np.abs), "outer_pool", "signed_sqrt"
    ),
}
