"""Exact cases: with small integers, `outer_pool` and its gradient do not round.

Sums of products of integers up to 3 over at most 8 locations stay below 2⁸. Every partial sum, in
any order, is therefore an integer that float32 and bfloat16 represent exactly, and a division by a
power of two is exact. For another Z, a gradient may round more than once, because some backends
divide the cotangent first; the derived bounds apply there. The sign of zero is not compared.
"""

from fractions import Fraction

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ..contract import ACCUMULATION
from .bounds import exact
from .cases import DTYPES, Case
from .closeness import assert_within
from .driver import Driver
from .operators import root_and_norm
from .subjects import arithmetic

LARGEST = 3


def integers(shape: tuple[int, ...]) -> st.SearchStrategy[np.ndarray]:
    return hnp.arrays(np.int64, shape, elements=st.integers(-LARGEST, LARGEST))


@st.composite
def lattices(draw, dtype: str) -> tuple[Case, np.ndarray]:
    """Draw a case of integers, in plain or transposed memory, and an integer cotangent."""
    locations = draw(st.sampled_from([1, 2, 3, 4, 7, 8]))
    sizes = [draw(st.sampled_from([1, 3, 8])) for _ in range(draw(st.sampled_from([1, 2])))]
    arrays = [draw(integers((2, locations, size))).astype(DTYPES[dtype]) for size in sizes]
    if draw(st.booleans()):
        arrays = [np.ascontiguousarray(a.swapaxes(1, 2)).swapaxes(1, 2) for a in arrays]
    options = {"reduction": draw(st.sampled_from(["sum", "mean"]))}
    if draw(st.booleans()):
        options["mask"] = draw(hnp.arrays(np.bool_, (2, locations)))
    cotangent = draw(integers((2, sizes[0], sizes[-1]))).astype(DTYPES[dtype])
    return Case(tuple(arrays), options), cotangent


def fixed_cases(dtype: str) -> list[tuple[Case, np.ndarray]]:
    """Return a few cases for compilers, which compile each shape."""
    cases = []
    for reduction, locations in (("sum", 7), ("mean", 8), ("mean", 7)):
        rng = np.random.default_rng(locations)
        x, y, cotangent = (
            rng.integers(-LARGEST, LARGEST + 1, shape).astype(DTYPES[dtype])
            for shape in ((2, locations, 8), (2, locations, 3), (2, 8, 3))
        )
        cases.append((Case((x, y), {"reduction": reduction}), cotangent))
    return cases


def check_exactness(
    driver: Driver, case: Case, cotangent: np.ndarray, *, mode: str = "eager"
) -> None:
    """Check that results and gradients equal those in integers, divided by Z and rounded once."""
    __tracebackhide__ = True
    dtype = case.arrays[0].dtype.name
    sums, slopes, z = integer_results(case, cotangent)
    what = f"outer_pool on {driver.name} ({dtype}, {mode}, integers)"
    result = driver.value("outer_pool", case.arrays, case.options, mode)
    assert_quotients(result, sums, z, dtype, what)
    if driver.vjp is None:
        return
    gradients = driver.gradients("outer_pool", cotangent, case.arrays, case.options, mode)
    powers = [n for n, count in enumerate(z) if _power_of_two(count)]
    for name, gradient, slope in zip("xy"[: len(slopes)], gradients, slopes, strict=True):
        assert gradient.shape == slope.shape, f"{what}: shape {gradient.shape}, not {slope.shape}"
        counts = [z[n] for n in powers]
        where = f"{what}, gradient of {name}"
        assert_quotients(gradient[powers], slope[powers], counts, dtype, where)


def check_floor(driver: Driver, dtype: str, *, mode: str = "eager") -> None:
    """Check that the gradient at and below the floor is that of ``z / eps``, without rounding.

    The norm of [½, 0] equals the floor exactly.
    """
    __tracebackhide__ = True
    z = np.array([[0.5, 0.0], [0.0, -0.5], [0.25, 0.0], [0.0, 0.0]]).astype(DTYPES[dtype])
    cotangent = np.array([[3.0, 1.0], [2.0, -1.0], [1.0, 3.0], [-1.0, 2.0]]).astype(DTYPES[dtype])
    (gradient,) = driver.gradients("l2_normalize", cotangent, (z,), {"eps": 0.5}, mode)
    what = f"l2_normalize on {driver.name} ({dtype}, {mode}, norm at most eps), gradient of z"
    assert_quotients(gradient, 2 * cotangent.astype(np.int64), [1] * 4, dtype, what)


def check_later_steps(driver: Driver, case: Case) -> None:
    """Check root and norm of an exact G, where only their own roundings count."""
    __tracebackhide__ = True
    case = Case(case.arrays, case.options | {"reduction": "sum"})
    eps, floor = 2.0**-10, 2.0**-20
    sizes = 2, case.arrays[0].shape[2], case.arrays[-1].shape[2]
    sums, *_ = integer_results(case, np.zeros(sizes))
    forms = {"eps": eps, "l2_eps": floor}
    root, norm = root_and_norm(forms)
    acc = arithmetic(case.arrays[0])
    expected = norm(root(exact(sums.reshape(2, -1).astype(np.longdouble))).value(acc)).value(acc)
    result = driver.value("bilinear_pool", case.arrays, case.options | forms)
    dtype = case.arrays[0].dtype.name
    assert_within(result, expected, dtype, f"bilinear_pool on {driver.name} ({dtype}), integers")


def integer_results(
    case: Case, cotangent: np.ndarray
) -> tuple[np.ndarray, list[np.ndarray], list[int]]:
    """Return the sums of products, the undivided gradients, and the divisor of each sample."""
    x, y = (a.astype(np.int64) for a in (case.arrays[0], case.arrays[-1]))
    keep = case.options.get("mask", np.ones(x.shape[:2], bool))
    x, y = x * keep[..., None], y * keep[..., None]
    ct = cotangent.astype(np.int64)
    dx, dy = np.einsum("ncd,nld->nlc", ct, y), np.einsum("ncd,nlc->nld", ct, x)
    dx, dy = dx * keep[..., None], dy * keep[..., None]
    mean = case.options["reduction"] == "mean"
    z = [max(int(k), 1) if mean else 1 for k in keep.sum(1)]
    return np.einsum("nlc,nld->ncd", x, y), [dx + dy] if len(case.arrays) == 1 else [dx, dy], z


def assert_quotients(
    values: np.ndarray, exact: np.ndarray, z: list[int], dtype: str, what: str
) -> None:
    """Assert that each sample is ``exact / z``: exactly where z is a power of two, else to 2 ulp.

    Compilers may multiply by 1 / z. Half-precision dtypes round once more.
    """
    __tracebackhide__ = True
    assert values.dtype.name == dtype, f"{what}: dtype {values.dtype.name}, expected {dtype}"
    assert values.shape == exact.shape, f"{what}: shape {values.shape}, expected {exact.shape}"
    worst, at = Fraction(0), ()
    for index in np.ndindex(*exact.shape):
        over = _excess(values[index], int(exact[index]), z[index[0]])
        worst, at = (over, index) if over > worst else (worst, at)
    if at:
        raise AssertionError(
            f"{what}: worst at {at}: got {float(values[at])!r}, expected {int(exact[at])} / "
            f"{z[at[0]]} (the error is {float(worst):.3g} × what is allowed)"
        )


def _excess(value, whole: int, z: int) -> Fraction:
    """Return the ratio of error to allowed error if it is more than 1, else 0."""
    if not np.isfinite(value):
        return Fraction(10**9)
    allowed = Fraction(0)
    if not _power_of_two(z):
        accumulation = np.dtype(ACCUMULATION[value.dtype.name])
        nearest = accumulation.type(whole) / accumulation.type(z)
        allowed = 2 * Fraction(float(np.spacing(abs(nearest))))
        if value.dtype != accumulation:
            allowed += Fraction(float(np.spacing(np.abs(value)))) / 2
    error = abs(Fraction(float(value)) - Fraction(whole, z))
    return Fraction(0) if error <= allowed else error / (allowed or Fraction(1, 10**9))


def _power_of_two(z: int) -> bool:
    return z & (z - 1) == 0
