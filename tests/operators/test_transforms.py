"""Every operator under every transform of its framework, and under the settings around it.

First and second derivatives are compared in float64 with what the reference says: its gradient
is differentiated once more by central differences in extended precision, where the operator is
smooth. At the hard points the convention itself is the expectation.
"""

import importlib
import inspect
from collections.abc import Iterator

import numpy as np
import pytest

from bilinear import reference
from bilinear.testing import DTYPES, OPERATORS, OPS, Case, assert_within, truth, vjp_truth
from bilinear.testing.cases import seeded

from ..agreement import assert_derivative
from ..subjects import PRESENT, driver
from ..tolerances import STEP

MAP = seeded("float64", 2, 4, 3)


def transforms(kind: str) -> Iterator[pytest.param]:
    for backend in PRESENT:
        for name in getattr(driver(backend), kind):
            yield pytest.param(backend, name, id=f"{backend}, {name}")


def over(kind: str):
    return pytest.mark.parametrize(("backend", "transform"), list(transforms(kind)))


def over_dtypes(kind: str):
    """Transforms pairwise with compilers and with a half type, not all three at once."""
    rows = [
        pytest.param(*row.values, dtype, id=f"{row.id}, {dtype}")
        for row in transforms(kind)
        for dtype in ("float64", "bfloat16")
        if dtype == "float64" or not any(word in row.id for word in (" in ", " of ", " over "))
    ]
    return pytest.mark.parametrize(("backend", "transform", "dtype"), rows)


over_operators = pytest.mark.parametrize("op", OPERATORS)


def smooth(op: str, dtype: str) -> list[Case]:
    """All of the operator's in float64; in a half type the richest, of two streams and a mask."""
    cases = OPS[op].smooth(dtype)
    return cases if dtype == "float64" else cases[-1:]


@over_dtypes("jvps")
@over_operators
def test_jvp(op: str, backend: str, transform: str, dtype: str) -> None:
    for case in smooth(op, dtype):
        tangents = _directions(case)
        apply = driver(backend).jvps[transform]
        result = driver(backend).call(apply, op, case.options, case.arrays, tangents)
        assert result.dtype == DTYPES[dtype]
        assert_derivative(result, _jvp(op, case, tangents), f"{op}, {backend}, {transform}")


@pytest.mark.parametrize("backend", PRESENT)
@over_operators
def test_forward_derivative_of_a_forward_derivative(op: str, backend: str) -> None:
    """Along v, twice: ⟨γ, D²f[v, v]⟩ is the derivative of the gradient along v, times v."""
    if backend == "tensorflow":
        pytest.skip("nested ForwardAccumulators depend on what was differentiated before them")
    push = next(iter(driver(backend).jvps.values()))

    def twice(function, arguments, tangents):
        return push(lambda *a: push(function, list(a), tangents), arguments, tangents)

    case = OPS[op].smooth("float64")[0]
    tangents, cotangent = _directions(case), _cotangent(op, case)
    result = driver(backend).call(twice, op, case.options, case.arrays, tangents)
    terms = [h * v for h, v in zip(_hvp(op, case, tangents, cotangent), tangents, strict=True)]
    size = max(1.0, float(sum(np.sum(np.abs(t)) for t in terms)))
    expected = np.array([float(sum(np.sum(t) for t in terms)) / size])
    found = np.array([np.sum(cotangent * result) / size])
    assert_derivative(found, expected, f"{op}, {backend}, twice")


@over("hvps")
@over_operators
def test_second_derivative(op: str, backend: str, transform: str) -> None:
    for case in OPS[op].smooth("float64"):
        tangents = _directions(case)
        cotangent = _cotangent(op, case)
        apply = driver(backend).hvps[transform]
        results = driver(backend).call(apply, op, case.options, case.arrays, tangents, cotangent)
        expected = _hvp(op, case, tangents, cotangent)
        for result, value in zip(results, expected, strict=True):
            assert_derivative(result, value, f"{op}, {backend}, {transform}")


@over("hvps")
@pytest.mark.parametrize("eps", [0.0, 1e-10])
def test_every_derivative_is_zero_at_exactly_zero(backend: str, transform: str, eps: float) -> None:
    g = np.array([0.0, -0.0, 1.0])
    ones = np.ones(3)
    apply = driver(backend).hvps[transform]
    (second,) = driver(backend).call(apply, "signed_sqrt", {"eps": eps}, [g], [ones], ones)
    assert second[0] == 0
    assert second[1] == 0
    assert_derivative(second[2:], np.array([-0.25 * (1 + eps) ** -1.5]), "beside zero")


@over("hvps")
def test_dead_channel_and_short_vector_have_finite_second_derivatives(
    backend: str, transform: str
) -> None:
    x = MAP.copy()
    x[..., 1] = 0
    tangents = [np.where(x == 0, 0.0, 1.0)]  # along which the dead channel stays dead
    case = Case((x,), {"eps": 0.0})
    cotangent = _cotangent("bilinear_pool", case)
    apply = driver(backend).hvps[transform]
    (result,) = driver(backend).call(
        apply, "bilinear_pool", case.options, case.arrays, tangents, cotangent
    )
    (expected,) = _hvp("bilinear_pool", case, tangents, cotangent)
    assert_derivative(result, expected, f"{backend}, {transform}")
    zero = np.zeros((2, 3))
    (result,) = driver(backend).call(
        apply, "l2_normalize", {"eps": 1e-3}, [zero], [zero + 1.0], zero + 1.0
    )
    assert not result.any()


@over_dtypes("vmaps")
@over_operators
def test_vmap_over_every_argument(op: str, backend: str, transform: str, dtype: str) -> None:
    for case in smooth(op, dtype):
        options = dict(case.options)
        mask = options.pop("mask", None)
        stacks = [np.stack([a, a[::-1], 2 * a]) for a in case.arrays]
        if mask is not None:
            stacks.append(np.stack([mask, ~mask, mask]))

        def mapped(function, arrays, masked=mask is not None):
            def one(*arguments):
                *rest, last = arguments
                return function(*rest, mask=last) if masked else function(*arguments)

            return driver(backend).vmaps[transform](one, arrays)

        results = driver(backend).call(mapped, op, options, stacks)
        for i, result in enumerate(results):
            arrays = tuple(s[i] for s in stacks[: len(case.arrays)])
            keep = {} if mask is None else {"mask": stacks[-1][i]}
            expected = truth(op, Case(arrays, options | keep))
            assert_within(result, expected, dtype, f"{op}, {backend}, {transform}")


@over("ambients")
@over_operators
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_ambient_settings_change_nothing(op: str, backend: str, transform: str, dtype: str) -> None:
    for wide in smooth(op, "float64" if dtype == "float32" else dtype):
        case = Case(tuple(a.astype(DTYPES[dtype]) for a in wide.arrays), wide.options)
        cotangent = _cotangent(op, case).astype(DTYPES[dtype])
        with driver(backend).ambients[transform]():
            result = driver(backend).forward(op, case.arrays, case.options)
            gradients = driver(backend).vjp(op, cotangent, case.arrays, case.options)
        assert_within(result, truth(op, case), dtype, f"{op}, {backend}, {transform}")
        for gradient, expected in zip(gradients, vjp_truth(op, case, cotangent), strict=True):
            assert_within(gradient, expected, dtype, f"{op}, {backend}, {transform}, gradient")


@over("shells")
@over_operators
def test_shells(op: str, backend: str, transform: str) -> None:
    for case in OPS[op].smooth("float64"):
        shell = driver(backend).shells[transform]
        result = driver(backend).call(
            lambda f, a, shell=shell: shell(f)(*a), op, case.options, case.arrays
        )
        assert_within(result, truth(op, case), "float64", f"{op}, {backend}, {transform}")


@over("checks")
@over_operators
def test_the_frameworks_own_checks_pass(op: str, backend: str, transform: str) -> None:
    """First and second derivatives against differences: gradcheck, gradgradcheck and the like."""
    for case in OPS[op].smooth("float64"):
        check = driver(backend).checks[transform]
        driver(backend).call(check, op, case.options, case.arrays)


@pytest.mark.parametrize("backend", PRESENT)
@pytest.mark.parametrize(("op", "name"), [("l2_normalize", "eps"), ("bilinear_pool", "l2_eps")])
def test_a_compiled_function_takes_one_eps_after_another(op: str, name: str, backend: str) -> None:
    """Compilers make a symbol of a number that changes, and may go on with an older one."""
    for mode in driver(backend).modes[1:]:
        for dtype in ("float32", "bfloat16"):
            for eps in (1e-12, 1e3, 2.0, 1e3):
                case = Case((seeded(dtype, 2, 4, 3),), {name: eps})
                result = driver(backend).forward(op, case.arrays, case.options, mode=mode)
                what = f"{op}, {backend}, {mode}, {dtype}, {name}={eps}"
                assert_within(result, truth(op, case), dtype, what)


def _directions(case: Case) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    return [rng.standard_normal(a.shape).astype(a.dtype) for a in case.arrays]


def _cotangent(op: str, case: Case) -> np.ndarray:
    shape = truth(op, case).value.shape
    return np.random.default_rng(6).standard_normal(shape)


def _inner(op: str, suffix: str):
    """The reference's unchecked formula, which runs in extended precision."""
    return getattr(importlib.import_module(f"bilinear.reference.{op}"), f"_{op}{suffix}")


def _applied(op: str, suffix: str, arrays: list, options: dict, *leading):
    """The unchecked formula, which names its arguments as the operator does, of all of them."""
    bound = inspect.signature(getattr(reference, op)).bind(*arrays, **options)
    bound.apply_defaults()
    return _inner(op, suffix)(*leading, *bound.args, **bound.kwargs)


def _along(case: Case, tangents: list[np.ndarray], step) -> list[np.ndarray]:
    return [a + step * v.astype(a.dtype) for a, v in zip(case.wide(), tangents, strict=True)]


def _jvp(op: str, case: Case, tangents: list[np.ndarray]) -> np.ndarray:
    ahead = _applied(op, "", _along(case, tangents, STEP), case.options)
    behind = _applied(op, "", _along(case, tangents, -STEP), case.options)
    return (ahead - behind) / (2 * STEP)


def _hvp(op: str, case: Case, tangents: list[np.ndarray], cotangent: np.ndarray) -> list:
    ct = cotangent.astype(np.longdouble)
    ahead = _listed(_applied(op, "_vjp", _along(case, tangents, STEP), case.options, ct))
    behind = _listed(_applied(op, "_vjp", _along(case, tangents, -STEP), case.options, ct))
    return [(a - b) / (2 * STEP) for a, b in zip(ahead, behind, strict=True)]


def _listed(x) -> list:
    return [x] if isinstance(x, np.ndarray) else list(x)
