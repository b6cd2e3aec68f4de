"""The battery: one class of tests for any number of backends, to be collected by pytest."""

import inspect
from collections.abc import Callable, Collection, Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from .cases import DTYPES, seeded
from .driver import Driver
from .lattices import check_exactness, check_floor, check_later_steps, fixed, lattices
from .laws import LAWS, check_adjointness
from .parity import check_against_each_other, check_against_reference, check_layer
from .refusals import BAD, check_refusal
from .reproduce import run
from .subjects import LAYERS, OPERATORS, OPS

NOT_COVERED = "not covered: "

HARDEST = {
    "non-square",
    "all zero",
    "NaN behind the mask of two",
    "NaN reaches",
    "dead channel without eps",
    "below the floor",
}
"""What is compiled first: where compilers are known to change what a NaN or a zero does."""

COMPILED = {"float32": 4, "bfloat16": 2, "float64": 1, "float16": 1}
"""How many hard points are compiled: a compiler pays for each, and does in one type what it did in
another of the same accumulation."""


TYPED = 4
"""How many calls of a layer are tried in each dtype: all but its ends is that of float32."""


class Battery:
    """What `battery` returns is one of these."""

    drivers: tuple[Driver, ...] = ()


def battery(
    *drivers: Driver,
    operators: Collection[str] = OPERATORS,
    layers: Collection[str] = tuple(LAYERS),
) -> type[Battery]:
    """The tests that hold `drivers` to the specification, and to each other.

    ::

        MINE = Driver("mine", forward, vjp)
        TestMine = battery(MINE)

    pytest collects the class by its name. Each test is one row of operator, backend and dtype
    (and direction, compiler, law…); Hypothesis draws its arrays, by whatever profile is active
    when `battery` is called. Several drivers meet on the same draws, each against the reference
    and against every other, in one row of operator and dtype. What a driver does not have is
    listed as skipped, "not covered".

    `operators` and `layers` select what is tested, for suites that spread the battery over files.
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
        for dtype in _of(driver)
    ]
    dtypes = [(driver, dtype) for driver, op, dtype in calls if op == "outer_pool"]
    later = [(driver, dtype) for driver, op, dtype in calls if op == "bilinear_pool"]
    rows: dict[Callable[..., None], Iterable[tuple]] = {
        edges: calls,  # the cheapest first, with the clearest names
        star: [row for row in calls if len(_able(drivers, *row[1:])) == 1],
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
            for dtype in _of(driver)
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
            if driver.operators[0] in operators  # once, if the battery is spread over files
            for what in driver.missing()
        ],
        ring: [
            (drivers, op, dtype)
            for op in OPERATORS
            if op in operators
            for dtype in DTYPES
            if len(_able(drivers, op, dtype)) > 1
        ],
    }
    tests = {f"test_{row.__name__}": _test(row, list(of)) for row, of in rows.items() if of}
    return type("Tests", (Battery,), {"drivers": drivers, **tests})


def star(driver: Driver, op: str, dtype: str, data: st.DataObject) -> None:
    """Any case, against the reference: where no other driver has the operator."""
    case = data.draw(OPS[op].cases(dtype), label="case")
    cotangent = data.draw(OPS[op].cotangents(dtype, OPS[op].output_shape(case)), label="cotangent")
    run(check_against_reference, driver, op, case, cotangent)


def edges(driver: Driver, op: str, dtype: str) -> None:
    """The hard points, one by one."""
    for label, case in OPS[op].edges(dtype).items():
        cotangent = seeded(dtype, *OPS[op].output_shape(case), seed=1)
        run(check_against_reference, driver, op, case, cotangent, label=label)


def nan_cotangent(driver: Driver, op: str, dtype: str) -> None:
    """NaN in a cotangent is never hidden."""
    for label, case in OPS[op].edges(dtype).items():
        cotangent = np.ones(OPS[op].output_shape(case), DTYPES[dtype])
        cotangent.reshape(-1)[:1] = np.nan
        for mode in driver.modes if label.startswith("both zeros") else ("eager",):
            run(check_against_reference, driver, op, case, cotangent, label=label, mode=mode)


def compiled(driver: Driver, op: str, dtype: str, mode: str) -> None:
    """A fixed list of shapes, the hardest first."""
    hard = OPS[op].edges(dtype)
    labels = sorted(hard, key=lambda label: label not in HARDEST)
    for label in labels[: COMPILED[dtype]]:
        cotangent = seeded(dtype, *OPS[op].output_shape(hard[label]), seed=2)
        run(check_against_reference, driver, op, hard[label], cotangent, label=label, mode=mode)


def exact(driver: Driver, dtype: str, data: st.DataObject) -> None:
    """Integers pool to integers, bit for bit."""
    case, cotangent = data.draw(lattices(dtype), label="case, cotangent")
    run(check_exactness, driver, case, cotangent)


def exact_when_compiled(driver: Driver, dtype: str, mode: str) -> None:
    for case, cotangent in fixed(dtype):
        run(check_exactness, driver, case, cotangent, mode=mode)


def floor(driver: Driver, dtype: str, mode: str) -> None:
    """The slope at the floor of the norm, where the branch is decided."""
    run(check_floor, driver, dtype, mode=mode)


def later_steps(driver: Driver, dtype: str, data: st.DataObject) -> None:
    """Root and norm of exact sums."""
    case, _ = data.draw(lattices(dtype), label="case")
    run(check_later_steps, driver, case)


def law(driver: Driver, name: str, data: st.DataObject) -> None:
    """An identity that holds whatever computes it."""
    run(LAWS[name].check, driver, *data.draw(LAWS[name].draw(_for_laws(driver)[0])))


def adjoint(driver: Driver, op: str, way: str) -> None:
    """Forward and reverse derivatives are adjoint, away from every hard point."""
    case = OPS[op].smooth("float64")[-1]  # the richest
    cotangent = seeded("float64", *OPS[op].output_shape(case), seed=5)
    tangents = [seeded("float64", *a.shape, seed=6 + i) for i, a in enumerate(case.arrays)]
    run(check_adjointness, driver, op, case, cotangent, tangents, way)


def layer(driver: Driver, name: str, layout: str, dtype: str) -> None:
    """A layer on maps of every rank, masked or not; of other types than float32 some."""
    calls = list(LAYERS[name].calls(dtype).values())
    for streams, given_ in calls if dtype == "float32" else calls[:TYPED]:
        run(check_layer, driver, name, streams, layout=layout, **given_)


def refusal(driver: Driver, mistake: str) -> None:
    """Bad input meets the contract's own sentence."""
    run(check_refusal, driver, mistake)


def not_covered(driver: Driver, what: str) -> None:
    """What a driver says it does not have."""
    pytest.skip(f"{NOT_COVERED}{driver.name}, {what}")


def ring(drivers: tuple[Driver, ...], op: str, dtype: str, data: st.DataObject) -> None:
    """Any case, every backend against the reference and against every other."""
    case = data.draw(OPS[op].cases(dtype), label="case")
    cotangent = data.draw(OPS[op].cotangents(dtype, OPS[op].output_shape(case)), label="cotangent")
    run(check_against_each_other, _able(drivers, op, dtype), op, case, cotangent)


def _of(driver: Driver) -> list[str]:
    return [dtype for dtype in DTYPES if dtype in driver.dtypes]


def _for_laws(driver: Driver) -> list[str]:
    """The dtypes that laws can be tried in, the widest first."""
    return [dtype for dtype in ("float64", "float32") if dtype in driver.dtypes]


def _able(drivers: tuple[Driver, ...], op: str, dtype: str) -> list[Driver]:
    return [d for d in drivers if op in d.operators and dtype in d.dtypes]


def _test(row: Callable[..., None], rows: list[tuple]) -> Any:
    """`row` as a test of its own: parametrized by `rows`, drawing if it takes data.

    Deadlines are off, since a first call may compile, and so are Hypothesis' warnings that a
    draw is slow or filters much. Its explanations would point into our comparisons.
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
