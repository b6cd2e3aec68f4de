"""Comparison of a backend with the float64 reference, and of backends with each other."""

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .bounds import Bounded
from .cases import Case, Maps
from .closeness import assert_within
from .driver import Driver
from .ratios import Subject
from .subjects import LAYERS, argument_names, layer_truth, truth, vjp_truth


def check_against_reference(
    driver: Driver,
    op: str,
    case: Case,
    cotangent: np.ndarray,
    *,
    mode: str = "eager",
    label: str = "draw",
    record: bool = True,
) -> None:
    """Check results and gradients; `record` enters the largest ratios in the table."""
    __tracebackhide__ = True
    expected = _expected(op, case, cotangent, tf32=driver.tf32, gradients=driver.vjp is not None)
    _results(driver, op, case, cotangent, expected, mode, label, record)


def check_against_each_other(
    drivers: list[Driver], op: str, case: Case, cotangent: np.ndarray
) -> None:
    """Compare each driver with the reference, and then all pairs, for one case.

    Two correct results differ by at most both bounds and two final roundings of half an ulp.
    """
    __tracebackhide__ = True
    dtype = case.arrays[0].dtype.name
    differentiated = any(driver.vjp for driver in drivers)
    expected = {
        tf32: _expected(op, case, cotangent, tf32=tf32, gradients=differentiated)
        for tf32 in sorted({driver.tf32 for driver in drivers})
    }
    results = {
        driver.name: _results(driver, op, case, cotangent, expected[driver.tf32])
        for driver in drivers
    }
    *_, widest = expected.values()
    for (a, first), (b, second) in itertools.combinations(results.items(), 2):
        both = min(len(first), len(second))  # one may have no gradients at all
        for r, s, bounded in zip(first[:both], second[:both], widest, strict=False):
            around = Bounded(s.astype(np.longdouble), bounded.error + _half_an_ulp(s))
            assert_within(r, around, dtype, f"{op}, {a} against {b} ({dtype})")


def check_layer(
    driver: Driver,
    name: str,
    maps: Maps,
    *,
    mask: np.ndarray | None = None,
    parameters: Mapping[str, Any] | None = None,
    layout: str = "",
    mode: str = "eager",
    run: Callable[..., tuple[np.ndarray, Any]] | None = None,
) -> None:
    """Compare a layer and its gradients with its specification in `layers/`.

    If `run` is given, ``run(cotangent, maps)`` replaces the driver's layer.
    """
    __tracebackhide__ = True
    specified = LAYERS[name].specify(maps, dict(parameters or {}), mask)
    dtype, shape = maps[0].dtype.name, specified.value().shape
    cotangent = np.random.default_rng(4).standard_normal(shape).astype(maps[0].dtype)
    expected, bounds = layer_truth(specified, maps, cotangent, tf32=driver.tf32)
    if run is not None:
        result, gradients = run(cotangent, maps)
    else:
        given = {"mask": mask, "parameters": parameters, "layout": layout, "mode": mode}
        count = len(bounds)
        result, gradients = driver.layer_and_gradients(name, cotangent, maps, count, **given)
    what = f"{name} on {driver.name} ({dtype}, {layout}, {mode})"
    subject = Subject(name, driver.name, dtype, "forward")
    assert_within(result, expected, dtype, what, subject)
    subject = subject._replace(direction="gradient")
    for gradient, bounded in zip(gradients, bounds, strict=True):
        assert_within(gradient, bounded, dtype, f"{what}, gradient", subject)


def _expected(
    op: str, case: Case, cotangent: np.ndarray, *, tf32: bool, gradients: bool
) -> list[Bounded]:
    later = vjp_truth(op, case, cotangent, tf32=tf32) if gradients else ()
    return [truth(op, case, tf32=tf32), *later]


def _results(
    driver: Driver,
    op: str,
    case: Case,
    cotangent: np.ndarray,
    expected: list[Bounded],
    mode: str = "eager",
    label: str = "draw",
    record: bool = True,
) -> list[np.ndarray]:
    """Return the driver's result and gradients after checking that they are within their bounds."""
    __tracebackhide__ = True
    dtype = case.arrays[0].dtype.name
    what = f"{op} on {driver.name} ({dtype}, {mode}, {label})"
    results = [driver.value(op, case.arrays, case.options, mode)]
    subject = Subject(op, driver.name, dtype, "forward") if record else None
    assert_within(results[0], expected[0], dtype, what, subject)
    if driver.vjp is None:
        return results
    results += driver.gradients(op, cotangent, case.arrays, case.options, mode)
    subject = Subject(op, driver.name, dtype, "gradient") if record else None
    names = argument_names(op, len(expected) - 1)
    for name, gradient, bounded in zip(names, results[1:], expected[1:], strict=True):
        assert_within(gradient, bounded, dtype, f"{what}, gradient of {name}", subject)
    return results


def _half_an_ulp(values: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):  # the spacing of inf is NaN
        rounding = np.spacing(np.abs(values)).astype(np.longdouble) / 2
    return np.where(np.isfinite(rounding), rounding, 0)
