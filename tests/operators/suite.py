"""The common tests of all operators: the specification, the battery, and every transform.

First and second derivatives are compared with central differences of the reference in extended
precision at smooth points. At singular points, the documented convention is the expected value.
"""

import importlib
import inspect
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bilinear import reference
from bilinear.contract.options import DescriptorOptions
from bilinear.testing import (
    DTYPES,
    OPS,
    REFERENCE,
    Case,
    assert_within,
    battery,
    check_against_reference,
    truth,
    vjp_truth,
)
from bilinear.testing.battery import COMPILED_FIRST
from bilinear.testing.bounds import exact
from bilinear.testing.cases import cotangents, normal
from bilinear.testing.operators import Operator
from bilinear.testing.subjects import output_shape

from ..agreement import assert_derivative
from ..selection import FULL
from ..subjects import PRESENT, driver, kit_driver, over_backends
from ..tolerances import COMPLEX_STEP, STEP

MAP = normal("float64", 2, 4, 3)
OTHER = normal("float64", 2, 4, 2, seed=1)
VALID = np.array([[True, False, True, True], [False] * 4])
"""Features of two streams, and their mask."""


def over(kind: str):
    """Parametrize by the transforms of one kind in every framework."""
    rows = [(backend, name) for backend in PRESENT for name in getattr(driver(backend), kind)]
    return pytest.mark.parametrize(("backend", "transform"), rows)


def over_dtypes(kind: str):
    """Parametrize by transforms and dtypes; transforms with a compiler run in float64 only."""
    rows = [
        (backend, name, dtype)
        for backend in PRESENT
        for name in getattr(driver(backend), kind)
        for dtype in ("float64", "bfloat16")
        if dtype == "float64" or not any(word in name for word in (" in ", " of ", " over "))
    ]
    return pytest.mark.parametrize(("backend", "transform", "dtype"), rows)


def operator_tests(op: str, *points: Case) -> tuple[type, type | None, type]:
    """Return the tests of the reference, of all installed frameworks, and of their transforms.

    Gradients of the reference are also compared with the complex step, at smooth points.

    Args:
        op: the operator.
        points: float64 cases for the complex step, besides ``OPS[op].smooth``.
    """
    names = {"op": op, "points": [*OPS[op].smooth("float64"), *points]}
    kit = map(kit_driver, PRESENT)
    return (
        type("TestReference", (Derivation, battery(REFERENCE, operators=[op])), names),
        battery(*kit, operators=[op], layers=()) if PRESENT else None,
        type("TestTransforms", (Transforms,), {"op": op}),
    )


class Derivation:
    """The reference is compared with its formula in extended precision and the complex step."""

    op = ""
    points: Sequence[Case] = ()

    @given(data=st.data())
    def test_the_reference_is_within_the_bounds(self, data) -> None:
        op = self.op
        case = data.draw(OPS[op].cases("float64"))
        cotangent = data.draw(cotangents("float64", output_shape(op, case)))
        result = np.asarray(getattr(reference, op)(*case.arrays, **case.options))
        assert_within(result, Operator(op, case).value("float64"), "float64", op)
        gradients = getattr(reference, f"{op}_vjp")(cotangent, *case.arrays, **case.options)
        ct = exact(cotangent.astype(np.longdouble))
        bounds = Operator(op, case).gradients(ct, "float64")
        for gradient, bounded in zip(gradients, bounds, strict=True):
            assert_within(np.asarray(gradient), bounded, "float64", f"{op}, gradient")

    def test_vjp_is_the_complex_step_derivative(self) -> None:
        """``Im f(x + ih) / h`` has no cancellation."""
        step = 1e-30
        for case in self.points:
            cotangent = cotangent_of(self.op, case)
            gradients = _as_list(_apply(self.op, "_vjp", case.arrays, case.options, cotangent))
            for position, gradient in enumerate(gradients):
                expected = np.empty_like(gradient)
                for index in np.ndindex(gradient.shape):
                    stepped = [a.astype(complex) for a in case.arrays]
                    stepped[position][index] += 1j * step
                    moved = _apply(self.op, "", stepped, case.options).imag / step
                    expected[index] = np.sum(cotangent * moved)
                error = np.abs(gradient - expected).max()
                assert error <= COMPLEX_STEP * np.abs(expected).max(), (position, case.options)


class Transforms:
    """An operator under every transform and global setting of its framework."""

    op = ""

    def smooth(self, dtype: str, backend: str, kind: str, transform: str) -> list[Case]:
        """Return all smooth cases for the first transform in float64, else the last one."""
        cases = OPS[self.op].smooth(dtype)
        first = transform == next(iter(getattr(driver(backend), kind)))
        return cases if dtype == "float64" and (FULL or first) else cases[-1:]

    @over_dtypes("jvps")
    def test_jvp(self, backend: str, transform: str, dtype: str) -> None:
        for case in self.smooth(dtype, backend, "jvps", transform):
            tangents = directions(case)
            apply = driver(backend).jvps[transform]
            result = driver(backend).call(apply, self.op, case.options, case.arrays, tangents)
            assert result.dtype == DTYPES[dtype]
            what = f"{self.op}, {backend}, {transform}"
            assert_derivative(result, derivative(self.op, case, tangents)[0], what)

    @over_backends
    def test_forward_derivative_of_a_forward_derivative(self, backend: str) -> None:
        """⟨γ, D²f[v, v]⟩ is the derivative of the gradient along v, times v."""
        if backend == "tensorflow":
            pytest.skip("nested ForwardAccumulators depend on what was differentiated before them")
        push = next(iter(driver(backend).jvps.values()))

        def twice(function, arguments, tangents):
            return push(lambda *a: push(function, list(a), tangents), arguments, tangents)

        case = OPS[self.op].smooth("float64")[0]
        tangents, cotangent = directions(case), cotangent_of(self.op, case)
        result = driver(backend).call(twice, self.op, case.options, case.arrays, tangents)
        along = derivative(self.op, case, tangents, cotangent)
        terms = [h * v for h, v in zip(along, tangents, strict=True)]
        size = max(1.0, float(sum(np.sum(np.abs(t)) for t in terms)))
        expected = np.array([float(sum(np.sum(t) for t in terms)) / size])
        found = np.array([np.sum(cotangent * result) / size])
        assert_derivative(found, expected, f"{self.op}, {backend}, twice")

    @over("hvps")
    def test_second_derivative(self, backend: str, transform: str) -> None:
        for case in self.smooth("float64", backend, "hvps", transform):
            groups = case.arrays, directions(case), cotangent_of(self.op, case)
            apply = driver(backend).hvps[transform]
            results = driver(backend).call(apply, self.op, case.options, *groups)
            expected = derivative(self.op, case, *groups[1:])
            for result, value in zip(results, expected, strict=True):
                assert_derivative(result, value, f"{self.op}, {backend}, {transform}")

    @over_dtypes("vmaps")
    def test_vmap_over_every_argument(self, backend: str, transform: str, dtype: str) -> None:
        for case in self.smooth(dtype, backend, "vmaps", transform):
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

            results = driver(backend).call(mapped, self.op, options, stacks)
            for i, result in enumerate(results):
                arrays = tuple(s[i] for s in stacks[: len(case.arrays)])
                masked = {} if mask is None else {"mask": stacks[-1][i]}
                expected = truth(self.op, Case(arrays, options | masked))
                assert_within(result, expected, dtype, f"{self.op}, {backend}, {transform}")

    @over("global_settings")
    @pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
    def test_global_settings_do_not_change_results(
        self, backend: str, transform: str, dtype: str
    ) -> None:
        drawn = "float64" if dtype == "float32" else dtype
        for wide in self.smooth(drawn, backend, "global_settings", transform):
            case = Case(tuple(a.astype(DTYPES[dtype]) for a in wide.arrays), wide.options)
            cotangent = cotangent_of(self.op, case).astype(DTYPES[dtype])
            with driver(backend).global_settings[transform]():
                check_against_reference(
                    kit_driver(backend), self.op, case, cotangent, label=transform, record=False
                )

    @over("wrappers")
    def test_wrappers(self, backend: str, transform: str) -> None:
        wrapper = driver(backend).wrappers[transform]
        for case in self.smooth("float64", backend, "wrappers", transform):
            result = driver(backend).call(
                lambda f, a: wrapper(f)(*a), self.op, case.options, case.arrays
            )
            what = f"{self.op}, {backend}, {transform}"
            assert_within(result, truth(self.op, case), "float64", what)

    @over("checks")
    def test_gradient_checkers_of_the_frameworks_pass(self, backend: str, transform: str) -> None:
        """First and second derivatives agree with finite differences (gradcheck, …)."""
        check = driver(backend).checks[transform]
        for case in self.smooth("float64", backend, "checks", transform):
            driver(backend).call(check, self.op, case.options, case.arrays)

    @pytest.mark.skipif(
        "torch" not in PRESENT or len(driver("torch").modes) < 2, reason="needs PyTorch and C++"
    )
    def test_singular_points_compiled_by_inductor(self) -> None:
        """All points are compiled in one graph, because each graph takes seconds."""
        cases = {}
        for dtype, count in {"float32": 6, "bfloat16": 2}.items():
            points = OPS[self.op].edges(dtype)
            labels = sorted(points, key=lambda label: label not in COMPILED_FIRST)[:count]
            cases |= {f"{label}, {dtype}": points[label] for label in labels}
        cotangents = [
            normal(case.arrays[0].dtype.name, *output_shape(self.op, case), seed=2)
            for case in cases.values()
        ]
        results = driver("torch").in_one_graph(self.op, list(cases.values()), cotangents)
        rows = zip(cases.items(), cotangents, results, strict=True)
        for (label, case), cotangent, (value, gradients) in rows:
            dtype = case.arrays[0].dtype.name
            assert_within(value, truth(self.op, case), dtype, f"{self.op}, {label}")
            expected = vjp_truth(self.op, case, cotangent)
            for gradient, bounded in zip(gradients, expected, strict=True):
                assert_within(gradient, bounded, dtype, f"{self.op}, {label}, gradient")


def check_changing_option(op: str, name: str, backend: str) -> None:
    """Check that a compiled function uses the current value of an option, not an earlier one."""
    for mode in driver(backend).modes[1:]:
        for dtype in ("float32", "bfloat16"):
            for eps in (1e-12, 1e3, 2.0, 1e3):
                case = Case((normal(dtype, 2, 4, 3),), {name: eps})
                result = driver(backend).forward(op, case.arrays, case.options, mode=mode)
                what = f"{op}, {backend}, {mode}, {dtype}, {name}={eps}"
                assert_within(result, truth(op, case), dtype, what)


def directions(case: Case) -> list[np.ndarray]:
    """Return a tangent of each array."""
    rng = np.random.default_rng(5)
    return [rng.standard_normal(a.shape).astype(a.dtype) for a in case.arrays]


def cotangent_of(op: str, case: Case) -> np.ndarray:
    return normal("float64", *output_shape(op, case), seed=6)


def derivative(op: str, case: Case, tangents: list[np.ndarray], *cotangent: np.ndarray) -> list:
    """Differentiate values, or gradients for a cotangent, along tangents by central differences."""
    suffix, leading = "_vjp" if cotangent else "", [ct.astype(np.longdouble) for ct in cotangent]
    ahead, behind = (
        _as_list(_apply(op, suffix, _along(case, tangents, step), case.options, *leading))
        for step in (STEP, -STEP)
    )
    return [(a - b) / (2 * STEP) for a, b in zip(ahead, behind, strict=True)]


def _apply(op: str, suffix: str, arrays: Sequence, options: dict, *leading):
    """Apply the formula of the reference without checks, which accepts other dtypes."""
    bound = inspect.signature(getattr(reference, op)).bind(*arrays, **options)
    bound.apply_defaults()
    formula = getattr(importlib.import_module(f"bilinear.reference.{op}"), f"_{op}{suffix}")
    named = dict(bound.kwargs)
    if "options" in inspect.signature(formula).parameters:
        values = {name: named.pop(name) for name in DescriptorOptions._fields if name in named}
        named["options"] = DescriptorOptions(**values)
    return formula(*leading, *bound.args, **named)


def _along(case: Case, tangents: list[np.ndarray], step) -> list[np.ndarray]:
    return [a + step * v.astype(a.dtype) for a, v in zip(case.upcast(), tangents, strict=True)]


def _as_list(x) -> list:
    return [x] if isinstance(x, np.ndarray) else list(x)
