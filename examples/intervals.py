"""Confidence interval of the mean over a few seeds."""

from collections.abc import Sequence

import numpy as np
from scipy import stats


def mean_and_margin(values: Sequence[float]) -> tuple[float, float]:
    """The mean and half the width of its 95 % interval (Student's t); NaN for a single value."""
    if len(values) < 2:
        return float(np.mean(values)), float("nan")
    margin = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    return float(np.mean(values)), float(margin)
