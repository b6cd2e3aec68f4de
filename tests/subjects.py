"""The one table of what is tested: every operator of the reference, every driver importable.

An operator is covered the moment `bilinear.reference.__all__` names it; without its
`tests/ops/<operator>.py` the suite cannot be collected.
"""

import functools
import importlib
import os
from types import ModuleType

import numpy as np

from bilinear import reference
from bilinear._require import BACKENDS, available

from .bounds import Bounded
from .drivers import Driver
from .ops._cases import Case

OPERATORS = [name for name in reference.__all__ if not name.endswith("_vjp")]
OPS: dict[str, ModuleType] = {
    name: importlib.import_module(f"tests.ops.{name}") for name in OPERATORS
}
PRESENT = [d for d in BACKENDS if available(d) and d in os.environ.get("BILINEAR_TEST_DOORS", d)]


@functools.cache
def driver(name: str) -> Driver:
    return importlib.import_module(f"tests.drivers.{name}").DRIVER


def truth(op: str, case: Case) -> Bounded:
    """The float64 reference, with the error allowed to a backend in the dtype of the case."""
    value = getattr(reference, op)(*_double(case), **case.options)
    return Bounded(np.asarray(value).astype(np.longdouble), OPS[op].forward(case).error)


def vjp_truth(op: str, case: Case, cotangent: np.ndarray) -> list[Bounded]:
    values = getattr(reference, f"{op}_vjp")(
        cotangent.astype(np.float64), *_double(case), **case.options
    )
    bounded = OPS[op].vjp(case, cotangent)
    return [
        Bounded(np.asarray(value).astype(np.longdouble), b.error)
        for value, b in zip(values, bounded, strict=True)
    ]


def _double(case: Case) -> list[np.ndarray]:
    return [a.astype(np.float64) for a in case.arrays]
