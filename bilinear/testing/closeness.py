"""Comparison with a derived bound."""

import numpy as np

from ..contract import ACCUMULATION
from .bounds import Bounded, gamma
from .ratios import Subject, note
from .tolerances import SLACK, SMALLEST


def assert_within(
    result: np.ndarray, truth: Bounded, dtype: str, what: str, subject: Subject | None = None
) -> None:
    """Assert that `result` lies between the two ends of ``truth ± SLACK · error``.

    The ends are rounded to `dtype`, because rounding is monotone. Half-precision dtypes therefore
    need no separate tolerance, and values beyond their range must be infinite. `result` must be
    NaN exactly where the truth is.

    Args:
        result: computed values.
        truth: exact values and error bounds.
        dtype: expected dtype of `result`.
        what: description of the comparison, for messages.
        subject: if given, the largest ratio of error to bound is recorded under it.
    """
    __tracebackhide__ = True
    assert result.dtype.name == dtype, f"{what}: dtype {result.dtype.name}, expected {dtype}"
    assert result.shape == truth.value.shape, (
        f"{what}: shape {result.shape}, expected {truth.value.shape}"
    )
    nan, expected_nan = np.isnan(result), np.isnan(truth.value)
    if not np.array_equal(nan, expected_nan):
        bad = nan != expected_nan
        index = tuple(map(int, np.argwhere(bad)[0]))
        raise AssertionError(
            f"{what}: {int(bad.sum())} of {bad.size} are NaN where they must not be, or the other "
            f"way round, first at {index}: got {float(result[index])}, "
            f"expected {float(truth.value[index])}"
        )
    margin = SLACK * (truth.error + SMALLEST[ACCUMULATION[dtype]])
    with np.errstate(over="ignore", invalid="ignore"):
        low = (truth.value - margin).astype(result.dtype)
        high = (truth.value + margin).astype(result.dtype)
        bad = ~((result >= low) & (result <= high)) & ~expected_nan & np.isfinite(margin)
    if bad.any():
        raise AssertionError(f"{what}: {_worst(result, truth, margin, bad)}")
    if subject is not None and result.size:
        note(subject, float(_ratios(result, truth, margin / SLACK).max()))


def assert_rounded(
    result: np.ndarray, expected, terms: int, what: str = "", *, scale: float | None = None
) -> None:
    """Assert that `result` equals a known value up to `terms` roundings in its dtype.

    Errors are relative to `scale`, the largest magnitude in the sums (default: in `expected`).
    """
    __tracebackhide__ = True
    expected = np.broadcast_to(expected, result.shape)
    largest = float(np.abs(expected).max()) if scale is None else scale
    margin = SLACK * gamma(terms, result.dtype.name) * largest
    error = float(np.abs(result - expected).max())
    assert error <= margin, f"{what or 'result'}: off by {error:.3g}, allowed {margin:.3g}"


def _ratios(result: np.ndarray, truth: Bounded, bound: np.ndarray) -> np.ndarray:
    """Ratio of error to bound, without the final rounding to a half-precision dtype."""
    with np.errstate(over="ignore", invalid="ignore"):
        error = np.abs(result.astype(np.longdouble) - truth.value)
        if ACCUMULATION[result.dtype.name] != result.dtype.name:
            error = np.maximum(error - np.spacing(np.abs(result)).astype(np.longdouble) / 2, 0)
        return np.where(np.isfinite(error) & np.isfinite(bound), error / bound, 0)


def _worst(result, truth, margin, bad) -> str:
    bound = margin / SLACK
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        ratio = np.where(bad, np.abs(result.astype(np.longdouble) - truth.value) / bound, -1)
    index = np.unravel_index(np.argmax(np.nan_to_num(ratio, nan=np.inf)), ratio.shape)
    allowed = f"the error is {float(ratio[index]):.3g} × the bound, {SLACK:g} is allowed"
    if truth.error[index] == 0:
        allowed = "the result is exact there"
    return (
        f"{int(bad.sum())} of {bad.size} outside the bound, worst at {tuple(map(int, index))}: "
        f"got {float(result[index])!r}, expected {float(truth.value[index])!r} "
        f"± {float(bound[index]):.3g} ({allowed})"
    )
