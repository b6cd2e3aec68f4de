"""Every backend against the float64 reference (the star), and against every other (the ring).

Operator, backend, dtype and compiler are parameters; arrays, shapes and options are drawn.
"""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from .bounds import Bounded
from .closeness import assert_within
from .ops._cases import DTYPES, Case
from .ratios import Subject
from .subjects import OPERATORS, OPS, PRESENT, driver, truth, vjp_truth

pytestmark = [
    pytest.mark.parametrize("op", OPERATORS),
    pytest.mark.parametrize("dtype", DTYPES),
]

HARDEST = {
    "non-square",
    "all zero",
    "NaN behind the mask of two",
    "NaN reaches",
    "dead channel without eps",
    "below the floor",
}
"""What is compiled first: where compilers are known to change what a NaN or a zero does."""

over_backends = pytest.mark.parametrize("backend", PRESENT)


@over_backends
@given(data=st.data())
def test_star(op: str, dtype: str, backend: str, data: st.DataObject) -> None:
    case = data.draw(OPS[op].cases(dtype), label="case")
    cotangent = data.draw(OPS[op].cotangents(dtype, OPS[op].output_shape(case)), label="cotangent")
    check_against_reference(op, dtype, backend, case, cotangent)


@over_backends
def test_edges(op: str, dtype: str, backend: str) -> None:
    for label, case in OPS[op].edges(dtype).items():
        shape = OPS[op].output_shape(case)
        cotangent = np.random.default_rng(1).standard_normal(shape).astype(DTYPES[dtype])
        check_against_reference(op, dtype, backend, case, cotangent, label=label)


@over_backends
def test_nan_cotangent_is_never_hidden(op: str, dtype: str, backend: str) -> None:
    for label, case in OPS[op].edges(dtype).items():
        shape = OPS[op].output_shape(case)
        cotangent = np.ones(shape, DTYPES[dtype])
        cotangent.reshape(-1)[:1] = np.nan
        for mode in driver(backend).modes if label.startswith("both zeros") else ("eager",):
            check_against_reference(op, dtype, backend, case, cotangent, label=label, mode=mode)


@over_backends
def test_compiled(op: str, dtype: str, backend: str) -> None:
    """A fixed list of shapes: a compiler pays for each. Fewer where it has done the same before."""
    edges = OPS[op].edges(dtype)
    labels = sorted(edges, key=lambda label: label not in HARDEST)
    for mode in driver(backend).modes[1:]:
        for label in labels[: 6 if dtype in ("float32", "bfloat16") else 2]:
            case = edges[label]
            shape = OPS[op].output_shape(case)
            cotangent = np.random.default_rng(2).standard_normal(shape).astype(DTYPES[dtype])
            check_against_reference(op, dtype, backend, case, cotangent, label=label, mode=mode)


@given(data=st.data())
def test_ring(op: str, dtype: str, data: st.DataObject) -> None:
    if len(PRESENT) < 2:
        pytest.skip("a ring needs two frameworks")
    case = data.draw(OPS[op].cases(dtype), label="case")
    cotangent = data.draw(OPS[op].cotangents(dtype, OPS[op].output_shape(case)), label="cotangent")
    bound = truth(op, case).error
    bounds = [b.error for b in vjp_truth(op, case, cotangent)]
    results = {}
    for name in PRESENT:
        value = driver(name).forward(op, case.arrays, case.options)
        gradients = driver(name).vjp(op, cotangent, case.arrays, case.options)
        results[name] = [value, *gradients]
    for (a, first), (b, second) in itertools.combinations(results.items(), 2):
        for r, s, error in zip(first, second, [bound, *bounds], strict=True):
            assert_close_pair(r, s, error, dtype, f"{op} {a} against {b}")


def check_against_reference(
    op: str,
    dtype: str,
    backend: str,
    case: Case,
    cotangent: np.ndarray,
    *,
    label: str = "draw",
    mode: str = "eager",
    note: bool = True,
) -> None:
    """Forward and gradients within their bounds; `note` enters the worst ratios in the table."""
    __tracebackhide__ = True
    what = f"{op} on {backend} ({dtype}, {mode}, {label})"
    result = driver(backend).forward(op, case.arrays, case.options, mode=mode)
    subject = Subject(op, backend, dtype, "forward") if note else None
    assert_within(result, truth(op, case), dtype, what, subject)
    gradients = driver(backend).vjp(op, cotangent, case.arrays, case.options, mode=mode)
    expected = vjp_truth(op, case, cotangent)
    subject = Subject(op, backend, dtype, "gradient") if note else None
    for name, gradient, bounded in zip("xy", gradients, expected, strict=False):
        assert_within(gradient, bounded, dtype, f"{what}, gradient of {name}", subject)
    assert len(gradients) == len(expected)


def assert_close_pair(r: np.ndarray, s: np.ndarray, error: np.ndarray, dtype: str, what: str):
    """Two correct results differ by at most twice the bound, and half an ulp each of rounding."""
    __tracebackhide__ = True
    wide = s.astype(np.longdouble)
    with np.errstate(invalid="ignore"):  # what is infinite in both has no spacing
        rounding = np.spacing(np.abs(s)).astype(np.longdouble)
    rounding = np.where(np.isfinite(rounding), rounding, 0)
    assert_within(r, Bounded(wide, error + rounding / 2), dtype, what)
