"""Backends with errors of a known size; `test_canary` expects failures in their battery."""

import itertools

import numpy as np

from bilinear.testing import LAYERS, Bounded, Case, Driver, battery, truth, vjp_truth
from bilinear.testing.subjects import layer_truth

WRONG_BY = 10
"""Error of a canary as a multiple of the bound, including half an ulp in half precision."""


def canary(direction: str) -> Driver:
    """Return a driver of the rounded reference with errors in one direction.

    The errors alternate in sign, so that two equal calls differ.
    """
    sides = itertools.cycle([1, -1])

    def forward(op, arrays, options):
        side = next(sides) if direction == "forward" else 0
        return add_error(truth(op, Case(tuple(arrays), options)), arrays[0].dtype, side)

    def vjp(op, cotangent, arrays, options):
        side = next(sides) if direction == "gradient" else 0
        expected = vjp_truth(op, Case(tuple(arrays), options), cotangent)
        return [add_error(e, a.dtype, side) for e, a in zip(expected, arrays, strict=True)]

    def layer(name, cotangent, maps, *, mask=None, parameters=None, layout="", mode="eager"):
        specified = LAYERS[name].specify(maps, dict(parameters or {}), mask)
        value, gradients = layer_truth(specified, maps, cotangent)
        side = next(sides)
        sides_of = (side, 0) if direction == "forward" else (0, side)
        wrong = [add_error(g, cotangent.dtype, sides_of[1]) for g in gradients]
        return add_error(value, cotangent.dtype, sides_of[0]), wrong

    return Driver(f"canary of {direction}", forward, vjp, layer=layer)


def add_error(expected: Bounded, dtype: np.dtype, side: int) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = expected.value.astype(dtype)
        ulp = np.spacing(np.abs(rounded)).astype(np.longdouble)
        error = expected.error + (ulp / 2 if dtype.itemsize == 2 else 0)
        off = np.where(np.isfinite(error), WRONG_BY * error, 0)
        return (expected.value + side * off).astype(dtype)


FORWARD, GRADIENT = canary("forward"), canary("gradient")
TestCanary = battery(FORWARD, GRADIENT)
