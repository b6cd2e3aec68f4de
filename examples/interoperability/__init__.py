"""Checks of the layers and models of `bilinear` together with other libraries.

Each check is a function whose parameters are the packages that it needs. It returns what the table
shows, and raises an error if it fails.
"""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

CLASSES = 3
ROUNDING = 1e-5
"""Largest relative difference of float32 results that are computed in another order."""


class Check(NamedTuple):
    title: str
    packages: tuple[str, ...]
    run: Callable[..., str]


CHECKS: list[Check] = []


def check(title: str) -> Callable[[Callable[..., str]], Callable[..., str]]:
    """Decorate a check with its title in the table."""

    def register(run: Callable[..., str]) -> Callable[..., str]:
        CHECKS.append(Check(title, tuple(inspect.signature(run).parameters), run))
        return run

    return register


def compare(first: Any, second: Any, tolerance: float = ROUNDING) -> str:
    """Return the relative difference of two arrays as text.

    Raises: AssertionError if it is above `tolerance`.
    """
    a, b = (np.asarray(array, np.float64) for array in (first, second))
    error = float(np.linalg.norm(a - b) / np.linalg.norm(b))
    assert error <= tolerance, f"a relative difference of {error:.1e}"
    return f"{error:.0e}" if error else "equal"
