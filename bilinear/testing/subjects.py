"""The tables of tested operators and layers.

Every operator in `bilinear.reference.__all__` is tested and must have a file `ops/<operator>.py`.
"""

import importlib
import inspect
import pkgutil
from types import ModuleType

import numpy as np

from .. import reference
from ..contract import ACCUMULATION
from . import layers
from .bounds import Bounded
from .cases import Case

OPERATORS = tuple(name for name in reference.__all__ if not name.endswith("_vjp"))
OPS: dict[str, ModuleType] = {
    name: importlib.import_module(f"{__package__}.ops.{name}") for name in OPERATORS
}
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


def truth(op: str, case: Case, *, tf32: bool = False) -> Bounded:
    """Return the float64 reference with the error bound of a backend in the dtype of the case.

    With `tf32`, matrix products of the backend may round float32 factors to TensorFloat-32.
    """
    value = getattr(reference, op)(*case.double(), **case.options)
    error = OPS[op].forward(case, arithmetic(case, tf32=tf32)).error
    return Bounded(np.asarray(value).astype(np.longdouble), error)


def vjp_truth(op: str, case: Case, cotangent: np.ndarray, *, tf32: bool = False) -> list[Bounded]:
    """Return the gradient of each array, as in `truth`."""
    values = getattr(reference, f"{op}_vjp")(
        cotangent.astype(np.float64), *case.double(), **case.options
    )
    bounded = OPS[op].vjp(case, cotangent, arithmetic(case, tf32=tf32))
    return [
        Bounded(np.asarray(value).astype(np.longdouble), b.error)
        for value, b in zip(values, bounded, strict=True)
    ]


def layer_truth(
    name: str, case: Case, cotangent: np.ndarray, *, tf32: bool = False
) -> tuple[Bounded, list[Bounded]]:
    """Return value and gradients of a layer by its specification, with error bounds."""
    layer, acc = LAYERS[name], arithmetic(case, tf32=tf32)
    value = Bounded(layer.value(case).astype(np.longdouble), layer.forward(case, acc).error)
    gradients = [
        Bounded(g.astype(np.longdouble), bounded.error)
        for g, bounded in zip(
            layer.gradients(case, cotangent.astype(np.float64)),
            layer.vjp(case, cotangent, acc),
            strict=True,
        )
    ]
    return value, gradients


def arithmetic(case: Case, *, tf32: bool = False) -> str:
    """Return the accumulation of a case, by its name in `bounds`."""
    accumulation = ACCUMULATION[case.arrays[0].dtype.name]
    return "tensorfloat32" if tf32 and accumulation == "float32" else accumulation
