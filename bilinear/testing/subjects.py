"""The one table of what is tested: every operator of the reference, and the layers around them.

An operator is covered the moment `bilinear.reference.__all__` names it; without its
`ops/<operator>.py` the battery cannot be imported.
"""

import importlib
from types import ModuleType

import numpy as np

from .. import reference
from ..contract import ACCUMULATION
from .bounds import Bounded
from .cases import Case

OPERATORS = tuple(name for name in reference.__all__ if not name.endswith("_vjp"))
OPS: dict[str, ModuleType] = {
    name: importlib.import_module(f"{__package__}.ops.{name}") for name in OPERATORS
}
LAYERS = {"BilinearPool": "bilinear_pool"}
"""Each layer, and the operator it is on the locations of its maps."""


def truth(op: str, case: Case, *, tf32: bool = False) -> Bounded:
    """The float64 reference, with the error allowed to a backend in the dtype of the case.

    With `tf32`, to one whose matrix products round float32 factors to TensorFloat-32.
    """
    value = getattr(reference, op)(*_double(case), **case.options)
    error = OPS[op].forward(case, arithmetic(case, tf32=tf32)).error
    return Bounded(np.asarray(value).astype(np.longdouble), error)


def vjp_truth(op: str, case: Case, cotangent: np.ndarray, *, tf32: bool = False) -> list[Bounded]:
    """Likewise of the gradient with respect to each array."""
    values = getattr(reference, f"{op}_vjp")(
        cotangent.astype(np.float64), *_double(case), **case.options
    )
    bounded = OPS[op].vjp(case, cotangent, arithmetic(case, tf32=tf32))
    return [
        Bounded(np.asarray(value).astype(np.longdouble), b.error)
        for value, b in zip(values, bounded, strict=True)
    ]


def arithmetic(case: Case, *, tf32: bool = False) -> str:
    """What `bounds` calls the arithmetic that a case is computed in."""
    accumulation = ACCUMULATION[case.arrays[0].dtype.name]
    return "tensorfloat32" if tf32 and accumulation == "float32" else accumulation


def _double(case: Case) -> list[np.ndarray]:
    return [a.astype(np.float64) for a in case.arrays]
