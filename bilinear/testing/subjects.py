"""The one table of what is tested: every operator of the reference, and the layers around them.

An operator is covered the moment `bilinear.reference.__all__` names it; without its
`ops/<operator>.py` the battery cannot be imported.
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
"""Each layer, and its specification in terms of the reference operators."""


def argument_names(op: str, count: int) -> list[str]:
    """What the operator calls its first `count` arrays."""
    names = []
    for name, parameter in inspect.signature(getattr(reference, op)).parameters.items():
        several = parameter.kind is parameter.VAR_POSITIONAL
        names += [f"{name}_{i}" for i in range(count)] if several else [name]
    return names[:count]


def truth(op: str, case: Case, *, tf32: bool = False) -> Bounded:
    """The float64 reference, with the error allowed to a backend in the dtype of the case.

    With `tf32`, to one whose matrix products round float32 factors to TensorFloat-32.
    """
    value = getattr(reference, op)(*case.double(), **case.options)
    error = OPS[op].forward(case, arithmetic(case, tf32=tf32)).error
    return Bounded(np.asarray(value).astype(np.longdouble), error)


def vjp_truth(op: str, case: Case, cotangent: np.ndarray, *, tf32: bool = False) -> list[Bounded]:
    """Likewise of the gradient with respect to each array."""
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
    """The value and gradients of a layer by its specification, with the errors allowed."""
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
    """What `bounds` calls the arithmetic that a case is computed in."""
    accumulation = ACCUMULATION[case.arrays[0].dtype.name]
    return "tensorfloat32" if tf32 and accumulation == "float32" else accumulation
