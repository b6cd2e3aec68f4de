"""The battery: a class of tests for one or more backends, which pytest collects."""

import inspect
from collections.abc import Callable, Collection, Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from .cases import DTYPES, cotangents, normal
from .driver import Driver
from .lattices import check_exactness, check_floor, check_later_steps, fixed_cases, lattices
from .laws import LAWS, check_adjointness
from .parity import check_against_each_other, check_against_reference, check_layer
from .refusals import BAD, check_refusal
from .reproduce import run
from .subjects import LAYERS, OPERATORS, OPS, output_shape

NOT_COVERED = "not covered: "

COMPILED_FIRST = {
    "non-square",
    "all zero",
    "NaN behind the mask of two",
    "NaN reaches",
    "dead channel without eps",
    "below the floor",
}
"""Singular points that are compiled first, because compilers may change NaN and zeros there."""

COMPILED = {"float32": 4, "bfloat16": 2, "float64": 1, "float16": 1}
"""Number of singular points that are compiled in each dtype, because compilation is slow."""

CALLS = 4
"""Number of calls of a layer in each dtype except float32, where all calls are tested."""


class Battery:
    """Base class of the test classes that `battery` returns."""

    drivers: tuple[Driver, ...] = ()


def battery(
    *drivers: Driver,
    operators: Collection[str] = OPERATORS,
    layers: Collection[str] = tuple(LAYERS),
) -> type[Battery]:
    """Create the tests that compare `drivers` with the specification and with each other.

    ::

        MINE = Driver("mine", forward, vjp)
        TestMine = battery(MINE)

    pytest collects the class by its name. Each test is parametrized by operator, backend and dtype
    (and compiler, law, …). Hypothesis draws the arrays with the profile that is active when
    `battery` is called. Several drivers are compared on the same arrays. What a driver does not
    offer is reported as skipped tests, "not covered".

    Args:
        drivers: one or more drivers with different names.
        operators: operators to test; default: all.
        layers: layers to test; default: all.

    Returns:
        A class of pytest tests.

    Raises:
        ValueError: `drivers` is empty, or two drivers have the same name.
    """
    names = [driver.name for driver in drivers]
    if not names or len(set(names)) < len(names):
        raise ValueError(
            f"battery: it needs drivers of different names; got {names}. Name each backend once."
        )
    calls = [
        (driver, op, dtype)
        for driver in drivers
        for op in driver.operators
        if op in operators
        for dtype in _dtypes_of(driver)
    ]
    dtypes = [(driver, dtype) for driver, op, dtype in calls if op == "outer_pool"]
    later = [(driver, dtype) for driver, op, dtype in calls if op == "bilinear_pool"]
    rows: dict[Callable[..., None], Iterable[tuple]] = {
        edges: calls,  # first, because they are fast and have clear names
        random_cases: [row for row in calls if len(_drivers_with(drivers, *row[1:])) == 1],
        nan_cotangent: [row for row in calls if row[0].vjp],
        compiled: [(*row, mode) for row in calls for mode in row[0].modes[1:]],
        exact: dtypes,
        exact_when_compiled: [
            (*row, mode)
            for row in dtypes
            for mode in row[0].modes[1:]
            if row[1] in ("float32", "bfloat16")
        ],
        floor: [
            (driver, dtype, mode)
            for driver, op, dtype in calls
            if op == "l2_normalize" and driver.vjp
            for mode in driver.modes
        ],
        later_steps: later,
        law: [
            (driver, name)
            for driver in drivers
            for name, entry in LAWS.items()
            if entry.operators[0] in operators
            and set(entry.operators) <= set(driver.operators)
            and _for_laws(driver)
        ],
        adjoint: [
            (driver, op, way)
            for driver in drivers
            for op in driver.operators
            if op in operators
            for way in driver.jvps
            if driver.vjp and "float64" in driver.dtypes
        ],
        layer: [
            (driver, name, layout, dtype)
            for driver in drivers
            if driver.layer
            for name in driver.layers
            if name in layers
            for layout in driver.layouts
            for dtype in _dtypes_of(driver)
        ],
        refusal: [
            (driver, mistake)
            for driver in drivers
            if driver.refuses
            for mistake, (op, *_) in BAD.items()
            if op in operators
        ],
        not_covered: [
            (driver, what)
            for driver in drivers
            if driver.operators[0] in operators  # once, if several files test some operators each
            for what in driver.missing()
        ],
        each_other: [
            (drivers, op, dtype)
            for op in OPERATORS
            if op in operators
            for dtype in DTYPES
            if len(_drivers_with(drivers, op, dtype)) > 1
        ],
    }
    tests = {f"test_{row.__name__}": _test(row, list(of)) for row, of in rows.items() if of}
    return type("Tests", (Battery,), {"drivers": drivers, **tests})


def random_cases(driver: Driver, op: str, dtype: str, data: st.DataObject) -> None:
    """Compare random cases with the reference, if no other driver has the operator."""
    case = data.draw(OPS[op].cases(dtype), label="case")
    cotangent = data.draw(cotangents(dtype, output_shape(op, case)), label="cotangent")
    run(check_against_reference, driver, op, case, cotangent)


def edges(driver: Driver, op: str, dtype: str) -> None:
    """Compare every singular point with the reference."""
    for label, case in OPS[op].edges(dtype).items():
        cotangent = normal(dtype, *output_shape(op, case), seed=1)
        run(check_against_reference, driver, op, case, cotangent, label=label)


def nan_cotangent(driver: Driver, op: str, dtype: str) -> None:
    """NaN in a cotangent is propagated."""
    for label, case in OPS[op].edges(dtype).items():
        cotangent = np.ones(output_shape(op, case), DTYPES[dtype])
        cotangent.reshape(-1)[:1] = np.nan
        for mode in driver.modes if label.startswith("both zeros") else ("eager",):
            run(check_against_reference, driver, op, case, cotangent, label=label, mode=mode)


def compiled(driver: Driver, op: str, dtype: str, mode: str) -> None:
    """Compare compiled operators with the reference at some singular points."""
    points = OPS[op].edges(dtype)
    labels = sorted(points, key=lambda label: label not in COMPILED_FIRST)
    for label in labels[: COMPILED[dtype]]:
        cotangent = normal(dtype, *output_shape(op, points[label]), seed=2)
        run(check_against_reference, driver, op, points[label], cotangent, label=label, mode=mode)


def exact(driver: Driver, dtype: str, data: st.DataObject) -> None:
    """`outer_pool` of integers is exact."""
    case, cotangent = data.draw(lattices(dtype), label="case, cotangent")
    run(check_exactness, driver, case, cotangent)


def exact_when_compiled(driver: Driver, dtype: str, mode: str) -> None:
    for case, cotangent in fixed_cases(dtype):
        run(check_exactness, driver, case, cotangent, mode=mode)


def floor(driver: Driver, dtype: str, mode: str) -> None:
    """The gradient of `l2_normalize` at its floor is exact."""
    run(check_floor, driver, dtype, mode=mode)


def later_steps(driver: Driver, dtype: str, data: st.DataObject) -> None:
    """Root and norm of exact sums are within their bounds."""
    case, _ = data.draw(lattices(dtype), label="case")
    run(check_later_steps, driver, case)


def law(driver: Driver, name: str, data: st.DataObject) -> None:
    """A mathematical law of the operators holds."""
    run(LAWS[name].check, driver, *data.draw(LAWS[name].draw(_for_laws(driver)[0])))


def adjoint(driver: Driver, op: str, way: str) -> None:
    """Forward and reverse derivatives are adjoint at a smooth case."""
    case = OPS[op].smooth("float64")[-1]  # the case with the most options
    cotangent = normal("float64", *output_shape(op, case), seed=5)
    tangents = [normal("float64", *a.shape, seed=6 + i) for i, a in enumerate(case.arrays)]
    run(check_adjointness, driver, op, case, cotangent, tangents, way)


def layer(driver: Driver, name: str, layout: str, dtype: str) -> None:
    """Compare a layer with its specification, for feature maps of every rank and with masks."""
    calls = list(LAYERS[name].calls(dtype).values())
    for streams, given_ in calls if dtype == "float32" else calls[:CALLS]:
        run(check_layer, driver, name, streams, layout=layout, **given_)


def refusal(driver: Driver, mistake: str) -> None:
    """Invalid input raises the same error as in the reference."""
    run(check_refusal, driver, mistake)


def not_covered(driver: Driver, what: str) -> None:
    """Report something that the driver does not offer."""
    pytest.skip(f"{NOT_COVERED}{driver.name}, {what}")


def each_other(drivers: tuple[Driver, ...], op: str, dtype: str, data: st.DataObject) -> None:
    """Compare random cases of all backends with the reference and with each other."""
    case = data.draw(OPS[op].cases(dtype), label="case")
    cotangent = data.draw(cotangents(dtype, output_shape(op, case)), label="cotangent")
    run(check_against_each_other, _drivers_with(drivers, op, dtype), op, case, cotangent)


def _dtypes_of(driver: Driver) -> list[str]:
    return [dtype for dtype in DTYPES if dtype in driver.dtypes]


def _for_laws(driver: Driver) -> list[str]:
    """Return the dtypes for laws, the most precise first."""
    return [dtype for dtype in ("float64", "float32") if dtype in driver.dtypes]


def _drivers_with(drivers: tuple[Driver, ...], op: str, dtype: str) -> list[Driver]:
    return [d for d in drivers if op in d.operators and dtype in d.dtypes]


def _test(row: Callable[..., None], rows: list[tuple]) -> Any:
    """Return `row` as a test parametrized by `rows`, with Hypothesis if it takes data.

    There is no deadline, because a first call may compile, and no health check of draws. The
    explain phase is off, because it would point into the comparison functions.
    """
    names = [name for name in inspect.signature(row).parameters if name != "data"]
    if "data" in inspect.signature(row).parameters:
        quiet = settings(
            deadline=None,
            suppress_health_check=[*HealthCheck],  # pyright: ignore
            phases=[phase for phase in settings().phases if phase is not Phase.explain],
            report_multiple_bugs=False,
            print_blob=False,
        )
        test = quiet(given(data=st.data())(row))
    else:

        def test(**arguments: Any) -> None:
            __tracebackhide__ = True
            row(**arguments)

        test.__signature__ = inspect.signature(row)  # type: ignore[attr-defined]
        test.__doc__ = row.__doc__
    ids = ["-".join(_word(value) for value in values) for values in rows]
    return staticmethod(pytest.mark.parametrize(names, rows, ids=ids)(test))


def _word(value: Any) -> str:
    if isinstance(value, tuple):
        return "all"
    return value.name if isinstance(value, Driver) else str(value)
