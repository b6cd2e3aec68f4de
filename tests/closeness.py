"""Comparison against a derived bound, with a message one can act on."""

import numpy as np

from bilinear.contract import ACCUMULATION

from .bounds import SLACK, SMALLEST, Bounded


def assert_within(result: np.ndarray, truth: Bounded, dtype: str, what: str) -> None:
    """`result`, of `dtype`, lies between the rounded ends of ``truth ± SLACK · error``.

    Rounding is monotone, so the ends are rounded to `dtype` like the result was: half types
    need no tolerance of their own, and what exceeds their range must be infinite. NaN must be
    exactly where the truth has it.
    """
    __tracebackhide__ = True
    assert result.dtype.name == dtype, f"{what}: dtype {result.dtype.name}, expected {dtype}"
    assert result.shape == truth.value.shape, (
        f"{what}: shape {result.shape}, expected {truth.value.shape}"
    )
    nan, expected_nan = np.isnan(result), np.isnan(truth.value)
    if not np.array_equal(nan, expected_nan):
        where = np.argwhere(nan != expected_nan)[0]
        raise AssertionError(f"{what}: NaN {'' if nan[tuple(where)] else 'lost '}at {where}")
    margin = SLACK * (truth.error + SMALLEST[ACCUMULATION[dtype]])
    with np.errstate(over="ignore", invalid="ignore"):
        low = (truth.value - margin).astype(result.dtype)
        high = (truth.value + margin).astype(result.dtype)
        bad = ~((result >= low) & (result <= high)) & ~expected_nan & np.isfinite(margin)
    if bad.any():
        raise AssertionError(f"{what}: {_worst(result, truth, margin, bad)}")


DERIVATIVE = 1e-8
"""Relative to the largest entry; central differences of step 1e-7 err less."""


def assert_derivative(result: np.ndarray, expected: np.ndarray, what: str) -> None:
    """A float64 derivative against one taken by central differences in extended precision."""
    __tracebackhide__ = True
    assert result.shape == expected.shape, f"{what}: shape {result.shape}"
    scale = max(float(np.max(np.abs(expected), initial=0)), 1.0)
    error = float(np.max(np.abs(result - expected), initial=0))
    assert error <= DERIVATIVE * scale, f"{what}: off by {error:.3g} at scale {scale:.3g}"


def _worst(result, truth, margin, bad) -> str:
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        ratio = np.where(bad, np.abs(result.astype(np.longdouble) - truth.value) / margin, -1)
    index = np.unravel_index(np.argmax(np.nan_to_num(ratio, nan=np.inf)), ratio.shape)
    return (
        f"{int(bad.sum())} of {bad.size} outside the bound, worst at {tuple(map(int, index))}: "
        f"got {result[index]!r}, expected {float(truth.value[index])!r} "
        f"± {float(margin[index]):.3g} (error is {float(ratio[index]):.3g} × the bound)"
    )


MODEL = {"float64": 1e-9, "float32": 2e-3}
"""Largest ‖difference‖₂ / ‖value‖₂ of a tensor of a whole network between two frameworks.

Each of some 20 layers rounds with u = 1e-16 (6e-8) and γ_n of sums of 1e3 to 1e4 terms; what it
passes on is amplified where the signed root meets entries of the pooled matrix near 0, whose
slope is up to 5e4 while most are near 1, and where a ReLU's argument is within rounding of 0.
"""

SPREAD = 8
"""A framework's float32 may err this many times as much as the worst of the others: their sums
differ in order and in blocking, and a blocked sum errs less than a running one."""


def relative_error(value: np.ndarray, expected: np.ndarray) -> float:
    """``‖value − expected‖₂ / ‖expected‖₂``."""
    difference = np.linalg.norm((value.astype(np.float64) - expected).ravel())
    return float(difference / max(np.linalg.norm(expected.astype(np.float64).ravel()), 1e-300))


def assert_models_agree(
    first: dict[str, np.ndarray], second: dict[str, np.ndarray], dtype: str, what: str
) -> None:
    """Equal names, shapes and, to `MODEL`, values."""
    __tracebackhide__ = True
    assert first.keys() == second.keys(), f"{what}: {sorted(first.keys() ^ second.keys())}"
    errors = {}
    for name, value in first.items():
        assert value.shape == second[name].shape, f"{what}, {name}: {value.shape}"
        errors[name] = relative_error(value, second[name])
    worst = max(errors, key=errors.__getitem__)
    assert errors[worst] <= MODEL[dtype], f"{what}: {worst} differs by {errors[worst]:.3g}"
