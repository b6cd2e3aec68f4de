"""Comparison of derivatives and whole networks, for which no bound is derived from the inputs."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from .tolerances import DERIVATIVE, GRADIENTS, LOGITS, SELF_DIVERGENCE


def assert_derivative(result: np.ndarray, expected: np.ndarray, what: str) -> None:
    """Assert that a derivative agrees with central differences in extended precision."""
    __tracebackhide__ = True
    allowed = DERIVATIVE[result.dtype.name]
    assert result.shape == expected.shape, f"{what}: shape {result.shape}"
    scale = max(float(np.max(np.abs(expected), initial=0)), 1.0)
    error = float(np.max(np.abs(result - expected), initial=0))
    assert error <= allowed * scale, f"{what}: off by {error:.3g} at scale {scale:.3g}"


def relative_error(value: np.ndarray, expected: np.ndarray) -> float:
    """``‖value − expected‖₂ / ‖expected‖₂``."""
    difference = np.linalg.norm((value.astype(np.float64) - expected).ravel())
    return float(difference / max(np.linalg.norm(expected.astype(np.float64).ravel()), 1e-300))


def nudge(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The next number above or below each entry."""
    ends = np.array([-np.inf, np.inf], array.dtype)
    return np.nextafter(array, ends[rng.integers(2, size=array.shape, dtype=np.uint8)])


def assert_models_agree(
    first: dict[str, np.ndarray],
    second: dict[str, np.ndarray],
    dtype: str,
    what: str,
    own: Mapping[str, float] = MappingProxyType({}),
) -> None:
    """Assert equal names, shapes and values, up to `LOGITS`, or `GRADIENTS` for gradients.

    `own` are relative differences of one framework alone, from nudged images and parameters: those
    of two frameworks may be `SELF_DIVERGENCE` times as large.
    """
    __tracebackhide__ = True
    assert first.keys() == second.keys(), f"{what}: {sorted(first.keys() ^ second.keys())}"
    for name, value in first.items():
        assert value.shape == second[name].shape, f"{what}, {name}: {value.shape}"
        allowed = LOGITS if name == "logits" or "running" in name else GRADIENTS
        bound = max(allowed[dtype], SELF_DIVERGENCE * own.get(name, 0))
        error = relative_error(value, second[name])
        assert error <= bound, f"{what}: {name} differs by {error:.3g}"
