"""The tables of tested operators and layers.

Every operator in `bilinear.reference.__all__` is tested and must have a file `ops/<operator>.py`.
"""

import importlib
import inspect
import pkgutil
from types import ModuleType
from typing import Any

import numpy as np

from .. import reference
from ..contract import ACCUMULATION
from . import layers
from .bounds import Bounded, exact
from .cases import Case, Maps
from .operators import Operator, bounds_of

OPERATORS = tuple(name for name in reference.__all__ if not name.endswith("_vjp"))
"""The names of the operators."""
OPS: dict[str, ModuleType] = {name: bounds_of(name) for name in OPERATORS}
"""Operator -> module of its cases and error bounds."""
LAYERS: dict[str, ModuleType] = {
    "".join(map(str.capitalize, file.name.split("_"))): importlib.import_module(
        f"{layers.__name__}.{file.name}"
    )
    for file in pkgutil.iter_modules(layers.__path__)
}
"""Layers and their specifications in terms of reference operators."""


def argument_names(op: str, count: int) -> list[str]:
    """Return the names of the first `count` arrays of an operator."""
    names = []
    for name, parameter in inspect.signature(getattr(reference, op)).parameters.items():
        several = parameter.kind is parameter.VAR_POSITIONAL
        names += [f"{name}_{i}" for i in range(count)] if several else [name]
    return names[:count]


def output_shape(op: str, case: Case) -> tuple[int, ...]:
    return Operator(op, case).value().shape


def truth(op: str, case: Case, *, tf32: bool = False) -> Bounded:
    """Return the float64 reference with the error bound of a backend in the dtype of the case.

    With `tf32`, matrix products of the backend may round float32 factors to TensorFloat-32.
    """
    return _value(Operator(op, case), arithmetic(case.arrays[0], tf32=tf32))


def vjp_truth(op: str, case: Case, cotangent: np.ndarray, *, tf32: bool = False) -> list[Bounded]:
    """Return the gradient of each array, as in `truth`."""
    return _gradients(Operator(op, case), cotangent, arithmetic(case.arrays[0], tf32=tf32))


def layer_truth(
    layer: Any, maps: Maps, cotangent: np.ndarray, *, tf32: bool = False
) -> tuple[Bounded, list[Bounded]]:
    """Return value and gradients of a specified layer, with error bounds."""
    acc = arithmetic(maps[0], tf32=tf32)
    gradients = _gradients(layer, cotangent, acc)
    of_maps = [g.reshape(m.shape) for g, m in zip(gradients, maps, strict=False)]
    return _value(layer, acc), [*of_maps, *gradients[len(maps) :]]


def _value(call: Any, acc: str) -> Bounded:
    return Bounded(call.value().astype(np.longdouble), call.value(acc).error)


def _gradients(call: Any, cotangent: np.ndarray, acc: str) -> list[Bounded]:
    values = call.gradients(cotangent.astype(np.float64))
    bounded = call.gradients(exact(cotangent.astype(np.longdouble)), acc)
    return [
        Bounded(np.asarray(value).astype(np.longdouble), b.error)
        for value, b in zip(values, bounded, strict=True)
    ]


def arithmetic(array: np.ndarray, *, tf32: bool = False) -> str:
    """Return the accumulation of an array's dtype, by its name in `bounds`."""
    accumulation = ACCUMULATION[array.dtype.name]
    return "tensorfloat32" if tf32 and accumulation == "float32" else accumulation
